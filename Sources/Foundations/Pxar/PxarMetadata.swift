import BackupFormats

/// Kinds of files, by the type bits of the mode.
package enum PxarFileKind: UInt64, CaseIterable, Sendable {
    case fifo = 0o010000
    case characterDevice = 0o020000
    case directory = 0o040000
    case blockDevice = 0o060000
    case regular = 0o100000
    case symlink = 0o120000
    case socket = 0o140000
}

/// A time as seconds since 1970 and nanoseconds after that second (so times before 1970 round down).
package struct PxarTime: Hashable, Comparable, Sendable {
    package var seconds: Int64
    /// 0 … 999,999,999.
    package var nanoseconds: UInt32

    package init(seconds: Int64, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func < (left: PxarTime, right: PxarTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }
}

/// The fixed part of an entry's metadata.
///
/// | Offset | Size | Field        | Content                                     |
/// |-------:|-----:|--------------|---------------------------------------------|
/// |      0 |    8 | mode         | `st_mode` with type bits                    |
/// |      8 |    8 | flags        | see ``PxarFlags``                           |
/// |     16 |    4 | uid          |                                             |
/// |     20 |    4 | gid          |                                             |
/// |     24 |    8 | mtime        | signed seconds                              |
/// |     32 |    4 | mtime        | nanoseconds                                 |
/// |     36 |    4 | padding      | written as zero, ignored                    |
///
/// Source: formats specification, section 7.2.
package struct PxarStat: Hashable, Sendable {
    static let byteCount = 40

    package var mode: UInt64
    package var flags: UInt64
    package var uid: UInt32
    package var gid: UInt32
    package var mtime: PxarTime

    package init(
        mode: UInt64, flags: UInt64 = 0, uid: UInt32 = 0, gid: UInt32 = 0, mtime: PxarTime = PxarTime(seconds: 0)
    ) {
        self.mode = mode
        self.flags = flags
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
    }

    /// nil where the type bits are none that exist.
    package var kind: PxarFileKind? { PxarFileKind(rawValue: mode & 0o170000) }

    /// The mode without type bits.
    package var permissions: UInt32 { UInt32(truncatingIfNeeded: mode & 0o7777) }

    func append(to output: inout [UInt8]) {
        output.appendLittleEndian(mode)
        output.appendLittleEndian(flags)
        output.appendLittleEndian(uid)
        output.appendLittleEndian(gid)
        output.appendLittleEndian(mtime.seconds)
        output.appendLittleEndian(mtime.nanoseconds)
        output.appendLittleEndian(UInt32(0))
    }
}

/// An extended attribute: the name as the kernel spells it, and its value.
package struct PxarXAttr: Hashable, Sendable {
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// Whether attributes of this name belong into an archive: `user.…`, `trusted.…` and `security.NTACL`.
    ///
    /// Capabilities and access lists have items of their own; everything else
    /// (labels of security modules above all) is of the machine, not of the file.
    package static func isArchived(_ name: some Collection<UInt8>) -> Bool {
        guard !name.isEmpty, name.count <= PxarLimits.xattrNameSize else { return false }
        return name.starts(with: "user.".utf8) || name.starts(with: "trusted.".utf8)
            || name.elementsEqual("security.NTACL".utf8)
    }
}

/// What one user or group may do: read 4, write 2, execute 1.
package struct PxarACLEntry: Hashable, Comparable, Sendable {
    package var id: UInt64
    package var permissions: UInt64

    package init(id: UInt64, permissions: UInt64) {
        self.id = id
        self.permissions = permissions
    }

    package static func < (left: PxarACLEntry, right: PxarACLEntry) -> Bool {
        (left.id, left.permissions) < (right.id, right.permissions)
    }
}

/// The base entries of a folder's default access list; an absent one is nil (2^64 - 1 in the archive).
package struct PxarACLDefault: Hashable, Sendable {
    static let absent = UInt64.max

    package var userObject: UInt64?
    package var groupObject: UInt64?
    package var other: UInt64?
    package var mask: UInt64?

    package init(userObject: UInt64?, groupObject: UInt64?, other: UInt64?, mask: UInt64?) {
        self.userObject = userObject
        self.groupObject = groupObject
        self.other = other
        self.mask = mask
    }
}

/// The parts of the POSIX access lists that the mode does not hold.
package struct PxarACL: Hashable, Sendable {
    package var users: [PxarACLEntry] = []
    package var groups: [PxarACLEntry] = []
    /// The owning group's own permissions; there exactly if the list has a
    /// mask, and then the mode's group bits hold the mask.
    package var groupObject: UInt64?
    package var defaults: PxarACLDefault?
    package var defaultUsers: [PxarACLEntry] = []
    package var defaultGroups: [PxarACLEntry] = []

    package init() {}
    package var isEmpty: Bool { self == PxarACL() }
}

/// Everything an archive says about a file besides its name and content.
package struct PxarMetadata: Hashable, Sendable {
    package var stat: PxarStat
    /// In the order in which the kernel listed them.
    package var xattrs: [PxarXAttr] = []
    package var acl = PxarACL()
    /// The raw value of `security.capability`.
    package var fileCapabilities: [UInt8]?
    package var quotaProjectID: UInt64?

    package init(stat: PxarStat) {
        self.stat = stat
    }
}
