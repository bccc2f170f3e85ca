/// The bits of a stat's flags, and the inode flags of Linux that they stand for.
///
/// Source: formats specification, section 7.8.
package struct PxarFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let fatHidden = PxarFlags(rawValue: 0x2000)
    package static let fatSystem = PxarFlags(rawValue: 0x4000)
    package static let fatArchive = PxarFlags(rawValue: 0x8000)
    package static let appendOnly = PxarFlags(rawValue: 0x1_0000)
    package static let noAccessTime = PxarFlags(rawValue: 0x2_0000)
    package static let compress = PxarFlags(rawValue: 0x4_0000)
    package static let noCopyOnWrite = PxarFlags(rawValue: 0x8_0000)
    package static let noDump = PxarFlags(rawValue: 0x10_0000)
    package static let directorySync = PxarFlags(rawValue: 0x20_0000)
    package static let immutable = PxarFlags(rawValue: 0x40_0000)
    package static let sync = PxarFlags(rawValue: 0x80_0000)
    package static let noCompress = PxarFlags(rawValue: 0x100_0000)
    package static let projectInherit = PxarFlags(rawValue: 0x200_0000)

    /// Those that take effect only when set before the content is written.
    package static let appliedAtCreation: PxarFlags = [
        .noAccessTime, .compress, .noCopyOnWrite, .noCompress, .projectInherit,
    ]

    private static let linux: [(PxarFlags, UInt32)] = [
        (.appendOnly, 0x20), (.noAccessTime, 0x80), (.compress, 0x04), (.noCopyOnWrite, 0x0080_0000), (.noDump, 0x40),
        (.directorySync, 0x0001_0000), (.immutable, 0x10), (.sync, 0x08), (.noCompress, 0x400),
        (.projectInherit, 0x2000_0000),
    ]

    /// From the value of `FS_IOC_GETFLAGS`; flags that the format does not know are dropped.
    package init(linux value: UInt32) {
        self = Self.linux.reduce(into: []) { if value & $1.1 != 0 { $0.insert($1.0) } }
    }

    /// For `FS_IOC_SETFLAGS`; the FAT bits have no place there.
    package var linuxFlags: UInt32 {
        Self.linux.reduce(0) { contains($1.0) ? $0 | $1.1 : $0 }
    }
}
