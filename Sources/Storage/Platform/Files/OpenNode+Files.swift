import CLinux
import Glibc

/// Files below an open folder, for writing in a tree that must not be left.
extension OpenNode {
    package enum FileAccess: Sendable {
        case read
        case update
        /// Makes it new, of mode 0600.
        case makeNew
    }

    /// Opens the regular file named `child` here.
    ///
    /// - Throws: ``SystemError``: `ELOOP` for a link, `EISDIR` for a folder, `ENXIO` for anything else that is no file.
    package func openFile(_ child: String, _ access: FileAccess) throws(SystemError) -> OpenFile {
        let opened =
            switch access {
            case .read: cl_open_reading(descriptor, child)
            case .update: cl_open_updating(descriptor, child)
            case .makeNew: cl_create_file(descriptor, child)
            }
        try check(opened, "open", child)
        let file = OpenFile(owning: opened, path: child)
        switch try file.status().kind {
        case .file: return file
        case .folder: throw SystemError("open", child, code: EISDIR)
        default: throw SystemError("open", child, code: ENXIO)
        }
    }

    /// Gives what is named `child` here the name `target` in `folder`.
    ///
    /// - Parameter replaces: Whether a file of that name is replaced; otherwise it is ``SystemError/isExisting``.
    package func rename(
        _ child: String, to target: String, in folder: OpenNode, replaces: Bool
    ) throws(SystemError) {
        let code = cl_rename_at(descriptor, child, folder.descriptor, target, replaces ? 0 : 1)
        try check(code, "rename", "\(child) to \(target)")
    }

    /// Sets the modification time of `child` to now, by the clock of the file system.
    package func touch(_ child: String) throws(SystemError) {
        try check(cl_touch_modified(descriptor, child), "touch", child)
    }

    /// Waits until the entries of this folder are on the disk. Not every file system can; those are left alone.
    package func sync() throws(SystemError) {
        guard retrying({ fsync(descriptor) }) == 0 else {
            if errno == EINVAL || errno == ENOTSUP { return }
            throw .last("fsync", "folder")
        }
    }

    package func space() throws(SystemError) -> FileSystemSpace {
        var result = statvfs()
        guard fstatvfs(descriptor, &result) == 0 else { throw .last("statvfs", "folder") }
        return FileSystemSpace(result)
    }
}
