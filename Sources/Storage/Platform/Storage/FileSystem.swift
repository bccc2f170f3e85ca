import CLinux
import Glibc

/// Calls on paths. Names that are not UTF-8 are left out of listings; no file of a store has one.
package enum FileSystem {
    /// - Returns: nil where nothing has that path.
    package static func status(_ path: String, followsLinks: Bool = true) throws(SystemError) -> FileStatus? {
        var result = stat()
        let outcome = followsLinks ? stat(path, &result) : lstat(path, &result)
        if outcome == 0 { return FileStatus(result) }
        let error = SystemError.last("stat", path)
        if error.isMissing { return nil }
        throw error
    }

    package static func exists(_ path: String) throws(SystemError) -> Bool {
        try status(path, followsLinks: false) != nil
    }

    package static func isFolder(_ path: String) throws(SystemError) -> Bool { try status(path)?.kind == .folder }

    /// The names in a folder without `.` and `..`, sorted by their bytes.
    ///
    /// - Throws: ``SystemError``; ``SystemError/isMissing`` where there is no such folder.
    package static func list(_ path: String) throws(SystemError) -> [String] {
        guard let folder = opendir(path) else { throw .last("opendir", path) }
        defer { closedir(folder) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(folder) else {
                if errno != 0 { throw .last("readdir", path) }
                break
            }
            let offset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0
            let start = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            guard let name = String(validatingCString: start), name != ".", name != ".." else { continue }
            names.append(name)
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// - Returns: false where the folder existed already.
    @discardableResult
    package static func makeFolder(_ path: String, mode: UInt32) throws(SystemError) -> Bool {
        guard mkdir(path, mode) == 0 else {
            let error = SystemError.last("mkdir", path)
            if error.code == EEXIST, try isFolder(path) { return false }
            throw error
        }
        // The umask may have taken bits away.
        try setMode(path, mode)
        return true
    }

    /// Makes the folder and all that are missing above it.
    package static func makeFolders(_ path: String, mode: UInt32) throws(SystemError) {
        if try isFolder(path) { return }
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try makeFolders(String(path[..<slash]), mode: mode)
        }
        try makeFolder(path, mode: mode)
    }

    package static func setMode(_ path: String, _ mode: UInt32) throws(SystemError) {
        guard chmod(path, mode) == 0 else { throw .last("chmod", path) }
    }

    /// Gives a file or folder to a user and group; a link is changed itself.
    package static func setOwner(_ path: String, user: UInt32, group: UInt32) throws(SystemError) {
        guard lchown(path, user, group) == 0 else { throw .last("chown", path) }
    }

    /// - Returns: false where there was no such file.
    @discardableResult
    package static func removeFile(_ path: String) throws(SystemError) -> Bool {
        if unlink(path) == 0 { return true }
        let error = SystemError.last("unlink", path)
        if error.isMissing { return false }
        throw error
    }

    /// Removes an empty folder.
    ///
    /// - Returns: false where there was none.
    @discardableResult
    package static func removeFolder(_ path: String) throws(SystemError) -> Bool {
        if rmdir(path) == 0 { return true }
        let error = SystemError.last("rmdir", path)
        if error.isMissing { return false }
        throw error
    }

    /// Removes a file or a folder with everything in it; links are removed, not followed. Nothing there is fine.
    package static func removeTree(_ path: String) throws(SystemError) {
        guard let status = try status(path, followsLinks: false) else { return }
        guard status.kind == .folder else {
            try removeFile(path)
            return
        }
        for name in try list(path) { try removeTree("\(path)/\(name)") }
        try removeFolder(path)
    }

    /// Renames; an existing file of the new name is replaced in one step.
    package static func rename(_ old: String, to new: String) throws(SystemError) {
        guard Glibc.rename(old, new) == 0 else { throw .last("rename", "\(old) to \(new)") }
    }

    /// Renames only where nothing has the new name, in one step.
    ///
    /// - Throws: ``SystemError/isExisting`` where something has it.
    package static func renameExclusively(_ old: String, to new: String) throws(SystemError) {
        try check(cl_rename_exclusively(old, new), "renameat2", "\(old) to \(new)")
    }

    /// The whole content of a file of at most `limit` bytes.
    ///
    /// - Throws: ``SystemError`` with `EFBIG` above the limit.
    package static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
        try OpenFile(path).readAll(limit: limit)
    }

    /// As ``read(_:limit:)``; nil where there is no such file.
    package static func readIfPresent(_ path: String, limit: Int) throws(SystemError) -> [UInt8]? {
        do throws(SystemError) {
            return try read(path, limit: limit)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    /// Waits until the entries of a folder are on the disk.
    package static func syncFolder(_ path: String) throws(SystemError) {
        try OpenFile(path).sync()
    }

    /// Waits until everything on the file system that holds `path` is on the disk.
    package static func syncFileSystem(of path: String) throws(SystemError) {
        try OpenFile(path).syncFileSystem()
    }

    /// Sets the access time to now, explicitly, so that mount options do not matter.
    ///
    /// - Returns: false where there is no such file.
    package static func touchAccessTime(_ path: String) throws(SystemError) -> Bool {
        let result = cl_touch_access_time(AT_FDCWD, path)
        if result == -ENOENT || result == -ENOTDIR { return false }
        try check(result, "utimensat", path)
        return true
    }

    package static func space(of path: String) throws(SystemError) -> FileSystemSpace {
        var result = statvfs()
        guard statvfs(path, &result) == 0 else { throw .last("statvfs", path) }
        return FileSystemSpace(result)
    }

    /// Makes a new folder below `parent` that only this user can enter; the caller removes it.
    package static func makeTemporaryFolder(in parent: String = "/tmp", prefix: String) throws(SystemError) -> String {
        var template = Array("\(parent)/\(prefix)-\(String(repeating: "X", count: 6))".utf8CString)
        guard mkdtemp(&template) != nil else { throw .last("mkdtemp", parent) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path without links, `.` and `..`.
    package static func realPath(_ path: String) throws(SystemError) -> String {
        guard let result = realpath(path, nil) else { throw .last("realpath", path) }
        defer { free(result) }
        return String(cString: result)
    }
}
