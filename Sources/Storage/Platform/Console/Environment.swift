import Glibc

/// Where the process runs: variables, user folders, host name.
package struct Environment: Sendable {
    package var variables: [String: String]
    package var hostName: String

    package init(variables: [String: String], hostName: String = "localhost") {
        self.variables = variables
        self.hostName = hostName
    }

    /// That of this process.
    package static var current: Environment {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
            entry += 1
        }
        return Environment(variables: variables, hostName: ProcessInformation.hostName)
    }

    /// A variable that is set and not empty.
    package subscript(_ name: String) -> String? {
        guard let value = variables[name], !value.isEmpty else { return nil }
        return value
    }

    /// `$XDG_CONFIG_HOME` or `~/.config`.
    package var configFolder: String? { self["XDG_CONFIG_HOME"] ?? self["HOME"].map { $0 + "/.config" } }
    /// `$XDG_CACHE_HOME` or `~/.cache`.
    package var cacheFolder: String? { self["XDG_CACHE_HOME"] ?? self["HOME"].map { $0 + "/.cache" } }
    /// `$XDG_RUNTIME_DIR`, which many services lack.
    package var runtimeFolder: String? { self["XDG_RUNTIME_DIR"] }
}

/// Commands that a setting names.
package enum ShellCommand {
    /// Runs `command` by `/bin/sh` and gives the first `limit` bytes of its output; nil where it ends with an error.
    package static func output(of command: String, limit: Int) -> [UInt8]? {
        guard let stream = popen(command, "r") else { return nil }
        var bytes = [UInt8](repeating: 0, count: limit)
        var count = 0
        while count < limit {
            let got = bytes.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { fread($0 + count, 1, limit - count, stream) } ?? 0
            }
            if got == 0 { break }
            count += got
        }
        return pclose(stream) == 0 ? Array(bytes[..<count]) : nil
    }
}
