import Foundation

/// `qemu-img`, a program that knows VHD independently of us. Debian: qemu-utils.
enum QemuImage {
    static let path = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }
    static var isThere: Bool { path != nil }

    struct Failed: Error { let output: String }

    @discardableResult
    static func run(_ arguments: String...) throws -> String {
        guard let path else { throw Failed(output: "no qemu-img") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failed(output: text) }
        return text
    }

    /// Virtual size that it finds in a file of format `vpc`.
    static func size(of file: String) throws -> UInt64 {
        let json = try JSONSerialization.jsonObject(with: Data(run("info", "--output=json", "-f", "vpc", file).utf8))
        return ((json as? [String: Any])?["virtual-size"] as? NSNumber)?.uint64Value ?? 0
    }

    /// Fails unless both have the same size and bytes.
    static func compare(vhd: String, raw: String) throws {
        try run("compare", "-f", "vpc", "-F", "raw", vhd, raw)
        let rawSize = try FileManager.default.attributesOfItem(atPath: raw)[.size] as? NSNumber
        let vhdSize = try size(of: vhd)
        guard vhdSize == rawSize?.uint64Value else {
            throw Failed(output: "\(vhd) has \(vhdSize) bytes, \(raw) \(rawSize ?? 0)")
        }
    }
}
