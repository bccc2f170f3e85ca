/// What we accept in a VHD, so that no memory is taken for what cannot be.
package enum VHDLimits {
    package static let sectorBytes = 512
    /// Largest virtual size: 64 TiB.
    package static let diskBytes: UInt64 = 64 << 40
    /// Entries of a table for a disk of that size.
    package static let tableEntries = Int(diskBytes / UInt64(DiskGeometry.blockBytes))
    /// Bytes of the bitmap in front of each block's data.
    static let bitmapBytes = DiskGeometry.blockBytes / sectorBytes / 8
    /// Bytes that a block takes in a file: bitmap and data.
    package static let storedBlockBytes = bitmapBytes + DiskGeometry.blockBytes
    /// Blocks that fit into a file, whose sectors have numbers of 32 bits.
    package static let blocksPerFile = Int((UInt64(UInt32.max) * 512) / UInt64(storedBlockBytes))
}
