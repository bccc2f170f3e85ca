import Platform

/// What this process uses, under the names that all exporters give these figures.
enum ProcessFigures {
    /// Ticks of processor time a second, and bytes of a page of memory, on all Linux machines that are supported.
    private static let ticksPerSecond = 100.0
    private static let fileLimit = 4096

    static func read() -> [(name: String, kind: PrometheusText.Kind, help: String, value: Double)] {
        // Behind the name in parentheses: state, and from there on numbers by their place.
        let fields = text("/proc/self/stat").split(separator: ")").last?.split(separator: " ") ?? []
        let resident = text("/proc/self/status").split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Double($0) }
        let files = try? FileSystem.list("/proc/self/fd").count
        let boot = text("/proc/stat", limit: 1 << 20).split(separator: "\n").first { $0.hasPrefix("btime ") }
            .flatMap { Double($0.dropFirst("btime ".count)) }
        var figures: [(String, PrometheusText.Kind, String, Double)] = []
        if fields.count > 19, let user = Double(fields[11]), let system = Double(fields[12]) {
            figures.append(
                (
                    "process_cpu_seconds_total", .counter, "Processor time of the server",
                    (user + system) / ticksPerSecond
                ))
        }
        if let resident {
            figures.append(("process_resident_memory_bytes", .gauge, "Memory of the server", resident * 1024))
        }
        if let files { figures.append(("process_open_fds", .gauge, "Open files of the server", Double(files))) }
        if let boot, fields.count > 19, let start = Double(fields[19]) {
            figures.append(
                ("process_start_time_seconds", .gauge, "When the server started", boot + start / ticksPerSecond))
        }
        return figures
    }

    private static func text(_ path: String, limit: Int = fileLimit) -> String {
        (try? FileSystem.read(path, limit: limit)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
