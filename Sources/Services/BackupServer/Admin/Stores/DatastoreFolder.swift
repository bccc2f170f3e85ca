import BackupFormats
import Platform

/// The folder of a datastore.
struct DatastoreFolder {
    /// What a datastore consists of; nothing else in its folder is touched.
    private static let parts = [".chunks", ".lock", ".gc-status", ".cairn", "ns"] + BackupType.allCases.map(\.rawValue)

    let path: String

    init(_ path: String) { self.path = path }

    /// Absolute, without empty parts, `.` and `..`, and not the root.
    var isPlain: Bool {
        guard path.utf8.first == UInt8(ascii: "/"), path.utf8.count > 1, !path.utf8.contains(0) else { return false }
        return path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
            .allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }

    /// Whether it lies below `root` once links are followed; parts that do not exist yet count as they are written.
    func lies(below root: String) throws -> Bool {
        guard let root = try? FileSystem.realPath(root) else { return false }
        var existing = path
        var rest = ""
        while try !FileSystem.exists(existing) {
            guard let slash = existing.lastIndex(of: "/"), slash > existing.startIndex else { return false }
            rest = existing[slash...] + rest
            existing = String(existing[..<slash])
        }
        return (try FileSystem.realPath(existing) + rest).hasPrefix(root == "/" ? root : root + "/")
    }

    /// Removes what belongs to the datastore, and the folder itself where nothing else is in it.
    func destroy() throws {
        do {
            for part in Self.parts { try FileSystem.removeTree("\(path)/\(part)") }
            if try FileSystem.isFolder(path), try FileSystem.list(path).isEmpty { try FileSystem.removeFolder(path) }
        } catch {
            throw error.failure("The content of '\(path)' cannot be removed")
        }
    }
}
