/// What we accept in an XVA.
package enum XVALimits {
    /// Size of the pieces of a disk.
    package static let pieceBytes = 1 << 20
    /// Largest `ova.xml`.
    package static let descriptionBytes = 16 << 20
    /// Largest entry of any other name, which is passed over.
    static let entryBytes: UInt64 = 8 << 30
    /// Disks in one archive.
    static let disks = 4096
    /// Digits of the number of a piece, at most.
    static let pieceDigits = 10
}

/// One piece of a disk in an XVA, its checksum seen to be right.
package struct XVAPiece: Sendable, Equatable {
    /// Id of the disk in `ova.xml`, and its folder in the archive: `Ref:4`.
    package let disk: String
    /// Offset in the disk divided by ``XVALimits/pieceBytes``.
    package let index: Int
    /// At most ``XVALimits/pieceBytes``; fewer at the end of a disk only.
    package let bytes: [UInt8]

    package init(disk: String, index: Int, bytes: [UInt8]) {
        self.disk = disk
        self.index = index
        self.bytes = bytes
    }
}
