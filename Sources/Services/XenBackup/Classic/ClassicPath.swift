import BackupFormats

/// Names in the classic layout. (Spec: xo-proxy §4.5.)
enum ClassicPath {
    static let machines = "xo-vm-backups"
    static let cache = "cache.json.gz"
    static let immutability = "immutability.json"
    static let disks = "vdis"

    /// Whether a name from outside can stand for one folder or file, and is not hidden.
    static func isName(_ name: some StringProtocol) -> Bool {
        !name.isEmpty && name.utf8.count <= 200 && name.first != "."
            && name.utf8.allSatisfy { $0 >= 0x20 && $0 != UInt8(ascii: "/") && $0 != 0x7f }
    }

    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    static func requireName(_ name: String, of what: String) throws {
        guard isName(name) else { throw BackupFailure(.invalidInput, "'\(name)' cannot be the id of a \(what)") }
    }

    /// Whether an entry of the folder of machines is one; locks lie beside them.
    static func isMachine(_ name: String) -> Bool { isName(name) && !name.hasSuffix(".lock") }

    static func isMetadata(_ name: String) -> Bool { isName(name) && name.hasSuffix(".json") }

    /// Joins a relative path to a folder and resolves `.` and `..`; nil where it leads out of `limit`, a folder.
    static func resolve(_ relative: String, in folder: String, within limit: String) -> String? {
        guard !relative.hasPrefix("/"), !relative.utf8.contains(0) else { return nil }
        var parts = folder.split(separator: "/")
        for part in relative.split(separator: "/") where part != "." {
            if part == ".." {
                guard parts.popLast() != nil else { return nil }
            } else {
                parts.append(part)
            }
        }
        let path = parts.joined(separator: "/")
        return path.hasPrefix(limit + "/") ? path : nil
    }

    static func folder(of path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "" }
    static func name(of path: String) -> String {
        String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...])
    }
}

/// The id of a machine's backup, as callers know it: `/xo-vm-backups/<vm>/<date>.json`.
struct ClassicBackupID {
    let vm: String
    /// `<date>.json`.
    let name: String

    /// - Throws: ``BackupFailure`` of kind `invalidInput` for another form.
    init(parsing text: String) throws {
        let parts = (text.hasPrefix("/") ? text.dropFirst() : text[...]).split(
            separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == ClassicPath.machines, ClassicPath.isMachine(String(parts[1])),
            ClassicPath.isMetadata(String(parts[2]))
        else { throw BackupFailure(.invalidInput, "'\(text)' is not the id of a backup") }
        vm = String(parts[1])
        name = String(parts[2])
    }
}
