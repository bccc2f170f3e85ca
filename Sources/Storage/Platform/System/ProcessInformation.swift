import Glibc

/// What tells this process from others: as in task ids and in the lock of a datastore.
package enum ProcessInformation {
    package static var id: Int32 { getpid() }
    package static var userID: UInt32 { geteuid() }
    package static var groupID: UInt32 { getegid() }

    /// The host's name without its domain.
    package static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.split(separator: ".").first.map { String($0) } ?? "localhost"
    }

    /// When this process started, in clock ticks since the machine did (field 22 of `/proc/self/stat`); 0 where
    /// that is not known.
    package static var startTime: UInt64 { startTime(of: id) ?? 0 }

    /// The start of another process, or nil where none has that id.
    package static func startTime(of process: Int32) -> UInt64? {
        guard let bytes = try? FileSystem.read("/proc/\(process)/stat", limit: 4096) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        // The second field is the name in parentheses and may hold blanks and parentheses.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }

    /// How many processors the process may use, at least 1.
    package static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// Whether files of other owners can be made and given away.
    package static var isRoot: Bool { geteuid() == 0 }
}
