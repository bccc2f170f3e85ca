import CLinux
import Glibc

/// One name in a folder that is being listed. Valid during the call that gives it.
package struct FolderEntry {
    /// The bytes of the name, without an end.
    package let name: UnsafeRawBufferPointer
    private let folder: Int32
    private let path: String
    private let type: UInt8

    fileprivate init(name: UnsafeRawBufferPointer, folder: Int32, path: String, type: UInt8) {
        self.name = name
        self.folder = folder
        self.path = path
        self.type = type
    }

    /// The name; nil where it is not UTF-8.
    package var text: String? { String(validating: name, as: UTF8.self) }

    /// The kind that the listing itself says; nil where the file system does not tell.
    package var listedKind: FileStatus.Kind? {
        switch type {
        case UInt8(DT_UNKNOWN): nil
        case UInt8(DT_REG): .file
        case UInt8(DT_DIR): .folder
        case UInt8(DT_LNK): .link
        default: .other
        }
    }

    /// - Returns: nil where it is gone.
    package func status(followsLinks: Bool = false) throws(SystemError) -> FileStatus? {
        var result = stat()
        guard fstatat(folder, cName, &result, followsLinks ? 0 : AT_SYMLINK_NOFOLLOW) == 0 else {
            let error = SystemError.last("stat", "\(path)/\(text ?? "")")
            if error.isMissing { return nil }
            throw error
        }
        return FileStatus(result)
    }

    /// Removes a file.
    ///
    /// - Returns: false where it is gone.
    @discardableResult
    package func remove() throws(SystemError) -> Bool {
        if unlinkat(folder, cName, 0) == 0 { return true }
        let error = SystemError.last("unlink", "\(path)/\(text ?? "")")
        if error.isMissing { return false }
        throw error
    }

    /// Safe: the kernel ends each name by a zero.
    private var cName: UnsafePointer<CChar> { name.baseAddress!.assumingMemoryBound(to: CChar.self) }
}

/// Lists folders one after the other through one buffer, for walks over very many of them.
package final class FolderLister {
    /// Bytes of entries that are asked for at once.
    private static let bufferByteCount = 64 << 10
    /// Offset of the name in `struct linux_dirent64`: inode 8, offset 8, length 2, type 1.
    private static let nameOffset = 19

    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferByteCount, alignment: 8)

    package init() {}

    deinit { buffer.deallocate() }

    /// Calls `body` for each name but `.` and `..`, in the order of the file system. Names may be removed meanwhile.
    ///
    /// - Returns: false where there is no such folder.
    package func forEachEntry(of path: String, _ body: (FolderEntry) throws -> Void) throws -> Bool {
        let descriptor = cl_open_root(path)
        if descriptor == -ENOENT || descriptor == -ENOTDIR { return false }
        try check(descriptor, "open", path)
        defer { close(descriptor) }
        while true {
            let count = cl_read_folder(descriptor, buffer.baseAddress, buffer.count)
            try check(Int32(clamping: count), "getdents", path)
            if count == 0 { return true }
            var start = 0
            while start + Self.nameOffset < count {
                let length = Int(buffer.loadUnaligned(fromByteOffset: start + 16, as: UInt16.self))
                guard length > Self.nameOffset, start + length <= count else { break }
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[start + Self.nameOffset..<start + length])
                let name = UnsafeRawBufferPointer(rebasing: bytes.prefix { $0 != 0 })
                if !Self.isDots(name) {
                    try body(
                        FolderEntry(name: name, folder: descriptor, path: path, type: buffer[start + 18]))
                }
                start += length
            }
        }
    }

    private static func isDots(_ name: UnsafeRawBufferPointer) -> Bool {
        let dot = UInt8(ascii: ".")
        return name.count == 1 && name[0] == dot || name.count == 2 && name[0] == dot && name[1] == dot
    }
}
