import BackupFormats
import Platform

/// What this machine runs, from the file that each Linux has for that.
enum OperatingSystem {
    private static let files = ["/etc/os-release", "/usr/lib/os-release"]
    private static let fileLimit = 64 << 10

    /// `{ build, os, osVersion }`. Blocks.
    static func description() throws -> JSONObject {
        var values: [String: String] = [:]
        for path in files where values.isEmpty {
            values = parse(String(decoding: try FileSystem.readIfPresent(path, limit: fileLimit) ?? [], as: UTF8.self))
        }
        return [
            "build": .string(CairnVersion.text), "os": .string(values["NAME"] ?? "Linux"),
            "osVersion": .string(values["VERSION_ID"] ?? values["VERSION"] ?? ""),
        ]
    }

    static func parse(_ text: String) -> [String: String] {
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let pair = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { continue }
            var value = pair[1]
            for quote in ["\"", "'"] where value.count >= 2 && value.hasPrefix(quote) && value.hasSuffix(quote) {
                value = value.dropFirst().dropLast()
            }
            values[String(pair[0])] = String(value)
        }
        return values
    }
}
