import BackupFormats
import Platform
import Synchronization

/// How the machine does, read from `/proc`; what cannot be read is zero or empty. (Spec: rest E.8.)
enum MachineStatus {
    private static let fileLimit = 1024 * 1024

    /// Counters of processor time at the last call, so that shares are those since then.
    final class ProcessorMeter: Sendable {
        fileprivate let lastTimes = Mutex(ProcessorTimes())
    }

    /// Of the calls for people.
    static let calls = ProcessorMeter()

    /// Blocks for a moment.
    static func read(_ meter: ProcessorMeter = calls) -> JSONObject {
        let memory = MemoryFigures(text("/proc/meminfo"))
        let load = text("/proc/loadavg").split(separator: " ").prefix(3).map { Double($0) ?? 0 }
        let uptime = text("/proc/uptime").split(separator: ".").first.flatMap { Int64($0) } ?? 0
        let now = ProcessorTimes(text("/proc/stat"))
        let before = meter.lastTimes.withLock { last in
            defer { last = now }
            return last
        }
        let shares = now.shares(since: before)
        let space = try? FileSystem.space(of: "/")
        let system = Dictionary(
            uniqueKeysWithValues: ["ostype", "osrelease", "version", "arch"].map {
                ($0, line("/proc/sys/kernel/\($0)"))
            })
        return [
            "memory": memory.memory, "swap": memory.swap,
            "root": [
                "total": .integer(space?.total ?? 0), "used": .integer(space?.used ?? 0),
                "avail": .integer(space?.available ?? 0),
            ],
            "uptime": .integer(uptime),
            "loadavg": .array((load + [0, 0, 0]).prefix(3).map { .number(decimal($0)) }),
            "cpu": .number(decimal(shares.busy)), "wait": .number(decimal(shares.waiting)),
            "cpuinfo": processors(text("/proc/cpuinfo")),
            "kversion": .string("\(system["ostype"] ?? "") \(system["osrelease"] ?? "") \(system["version"] ?? "")"),
            "current-kernel": [
                "sysname": .string(system["ostype"] ?? ""), "release": .string(system["osrelease"] ?? ""),
                "version": .string(system["version"] ?? ""), "machine": .string(system["arch"] ?? ""),
            ],
            "boot-info": [
                "mode": .string((try? FileSystem.isFolder("/sys/firmware/efi")) == true ? "efi" : "legacy-bios"),
                "secureboot": false,
            ],
        ]
    }

    private static func text(_ path: String) -> String {
        (try? FileSystem.read(path, limit: fileLimit)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private static func line(_ path: String) -> String {
        text(path).split(separator: "\n").first.map(String.init) ?? ""
    }

    private static func decimal(_ value: Double) -> String { "\(value.isFinite ? value : 0)" }

    private static func processors(_ text: String) -> JSONValue {
        var model = ""
        var count = 0
        var sockets: Set<Substring> = []
        for line in text.split(separator: "\n") {
            let halves = line.split(separator: ":", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let value = halves[1].drop { $0 == " " }
            if line.hasPrefix("processor") { count += 1 }
            if line.hasPrefix("model name"), model.isEmpty { model = String(value) }
            if line.hasPrefix("physical id") { sockets.insert(value) }
        }
        return [
            "model": .string(model), "sockets": .integer(max(1, sockets.count)),
            "cpus": .integer(count > 0 ? count : ProcessInformation.processorCount),
        ]
    }
}

/// Bytes of memory and swap from `/proc/meminfo`.
private struct MemoryFigures {
    let memory: JSONValue
    let swap: JSONValue

    init(_ text: String) {
        var kibibytes: [Substring: Int64] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.count >= 2 { kibibytes[parts[0]] = Int64(parts[1]) }
        }
        func bytes(_ name: Substring) -> Int64 { (kibibytes[name] ?? 0) &* 1024 }
        let (total, free) = (bytes("MemTotal:"), bytes("MemAvailable:"))
        memory = ["total": .integer(total), "used": .integer(max(0, total - free)), "free": .integer(free)]
        let (swapTotal, swapFree) = (bytes("SwapTotal:"), bytes("SwapFree:"))
        swap = [
            "total": .integer(swapTotal), "used": .integer(max(0, swapTotal - swapFree)), "free": .integer(swapFree),
        ]
    }
}

/// Ticks that all processors together have spent, from the first line of `/proc/stat`.
private struct ProcessorTimes {
    var idle: Int64 = 0
    var waiting: Int64 = 0
    var all: Int64 = 0

    init() {}

    init(_ text: String) {
        let ticks = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst().prefix(8).map { Int64($0) ?? 0 }
        guard ticks.count >= 5 else { return }
        idle = ticks[3]
        waiting = ticks[4]
        all = ticks.reduce(0, &+)
    }

    func shares(since before: ProcessorTimes) -> (busy: Double, waiting: Double) {
        let span = Double(all - before.all)
        guard span > 0 else { return (0, 0) }
        let waited = Double(max(0, waiting - before.waiting)) / span
        return (max(0, 1 - Double(max(0, idle - before.idle)) / span - waited), waited)
    }
}
