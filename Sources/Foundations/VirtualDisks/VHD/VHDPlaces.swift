import BackupFormats

/// Where blocks may lie in a file.
enum VHDPlaces {
    /// Bytes of a block that belong to a disk of `size` bytes; 0 behind its end.
    static func usedBytes(of index: Int, size: UInt64) -> Int {
        let start = UInt64(index) * UInt64(DiskGeometry.blockBytes)
        return start >= size ? 0 : Int(min(size - start, UInt64(DiskGeometry.blockBytes)))
    }

    /// Bytes that a block takes at least: its data may be short where the disk ends.
    static func leastBytes(of index: Int, size: UInt64) -> UInt64 {
        let used = usedBytes(of: index, size: size)
        let data = used == 0 ? DiskGeometry.blockBytes : (used + 511) / 512 * 512
        return UInt64(SectorBitmap.byteCount + data)
    }

    /// - Parameter entries: In the order of the file.
    /// - Throws: ``FormatError/invalid(_:offset:)`` where a block begins before the end of the table or inside another.
    static func check(
        _ entries: [VHDBlockTable.Entry], header: VHDHeader, size: UInt64
    ) throws(FormatError) {
        var end = header.tableEnd
        for entry in entries {
            guard entry.offset >= end else {
                throw .invalid(
                    "block \(entry.index) begins at byte \(entry.offset), inside of what ends at byte \(end)",
                    offset: Int(header.tableOffset) + entry.index * VHDBlockTable.entryBytes)
            }
            end = entry.offset + leastBytes(of: entry.index, size: size)
        }
    }
}
