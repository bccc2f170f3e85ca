import CLinux

/// What the kernel says of a file of any kind, in the units of backups.
package struct NodeInfo: Hashable, Sendable {
    package enum Kind: UInt32, Sendable {
        case fifo = 0o010000
        case characterDevice = 0o020000
        case folder = 0o040000
        case blockDevice = 0o060000
        case file = 0o100000
        case link = 0o120000
        case socket = 0o140000
    }

    /// With type bits.
    package let mode: UInt32
    package let user: UInt32
    package let group: UInt32
    package let byteCount: UInt64
    package let linkCount: UInt64
    /// The file system, and the file in it.
    package let identity: NodeIdentity
    /// For device nodes.
    package let deviceMajor: UInt32
    package let deviceMinor: UInt32
    /// Last change: seconds since 1970, rounded down, and nanoseconds after that.
    package let modifiedSeconds: Int64
    package let modifiedNanoseconds: UInt32

    /// nil for kinds that Linux does not have.
    package var kind: Kind? { Kind(rawValue: mode & 0o170000) }

    init(_ info: cl_file_info) {
        mode = info.mode
        user = info.uid
        group = info.gid
        byteCount = info.size
        linkCount = info.links
        identity = NodeIdentity(device: info.device, inode: info.inode)
        deviceMajor = info.device_major
        deviceMinor = info.device_minor
        modifiedSeconds = info.seconds
        modifiedNanoseconds = info.nanoseconds
    }
}

/// Tells files apart, whatever their names.
package struct NodeIdentity: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64
}
