import Platform

/// Numbers as they are printed.
enum Figure {
    static func seconds(_ time: Duration) -> String { "\(ratio(time / .seconds(1))) s" }

    static func milliseconds(_ time: Duration) -> String { "\(Int(time / .milliseconds(1))) ms" }

    static func ratio(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}

/// What a process holds of the machine's memory, in bytes.
enum ResidentMemory {
    static var now: Int { field("VmRSS", of: "self") }
    static var peak: Int { field("VmHWM", of: "self") }

    /// From now on the peak is that of what follows.
    static func forgetPeak() {
        guard let file = try? OpenFile("/proc/self/clear_refs", .readWrite) else { return }
        try? file.write([UInt8(ascii: "5")], at: 0)
    }

    /// - Parameter process: Its id.
    static func field(_ name: String, of process: String) -> Int {
        guard let bytes = try? FileSystem.read("/proc/\(process)/status", limit: 64 << 10) else { return 0 }
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
}
