package import Glibc

/// What the file system knows about a file, as far as the store asks.
package struct FileStatus: Hashable, Sendable {
    package enum Kind: Sendable { case file, folder, link, other }

    package let kind: Kind
    package let byteCount: Int
    /// Permission bits, without the kind.
    package let mode: UInt32
    package let user: UInt32
    package let group: UInt32
    package let device: UInt64
    package let inode: UInt64
    /// Unix seconds.
    package let modified: Int64
    /// Unix nanoseconds.
    package let accessedNanoseconds: Int64

    package init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        byteCount = Int(status.st_size)
        mode = UInt32(status.st_mode) & 0o7777
        user = status.st_uid
        group = status.st_gid
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = Int64(status.st_mtim.tv_sec)
        accessedNanoseconds = Int64(status.st_atim.tv_sec) * 1_000_000_000 + Int64(status.st_atim.tv_nsec)
    }
}

/// Room on a file system, in bytes.
package struct FileSystemSpace: Hashable, Sendable {
    package var total: Int64
    /// Taken by anything.
    package var used: Int64
    /// Free for users who are not root.
    package var available: Int64

    init(_ status: statvfs) {
        let unit = Int64(status.f_frsize)
        total = Int64(status.f_blocks) * unit
        used = Int64(status.f_blocks - status.f_bfree) * unit
        available = Int64(status.f_bavail) * unit
    }
}
