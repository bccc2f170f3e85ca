import BackupFormats

/// Where the blocks of a file lie, and what is wrong with that.
struct VHDPlaces {
    private static let locatorLimit = 1 << 20

    /// First byte behind all that the header and the table name.
    private(set) var end: UInt64
    /// The disk's last block, where there is no room for a whole one.
    private(set) var shortBlock: Int?
    /// Blocks that begin before the end of the table, lie inside of others, or end behind `limit`.
    private(set) var unreadable: Set<Int> = []
    /// The first of these, described.
    private(set) var problem: FormatError?

    /// - Parameter limit: Where blocks must end: the closing footer, or the end of the file; nil: of a stream, not
    ///   known.
    init(_ table: VHDBlockTable, header: VHDHeader, size: UInt64, limit: UInt64?) {
        let entries = table.entriesInFileOrder
        var taken = header.tableEnd
        end = header.tableEnd
        for (position, entry) in entries.enumerated() {
            let least = entry.offset + Self.leastBytes(of: entry.index, size: size)
            let whole = entry.offset + UInt64(VHDLimits.storedBlockBytes)
            let tableEntry = Int(header.tableOffset) + entry.index * VHDBlockTable.entryBytes
            if entry.offset < taken {
                unreadable.insert(entry.index)
                if position > 0, entry.offset >= header.tableEnd { unreadable.insert(entries[position - 1].index) }
                problem =
                    problem
                    ?? .invalid(
                        "block \(entry.index) begins at byte \(entry.offset), inside of what ends at byte \(taken)",
                        offset: tableEntry)
            }
            if let limit, least > limit {
                unreadable.insert(entry.index)
                problem =
                    problem ?? .invalid("block \(entry.index) ends behind the end of the file", offset: tableEntry)
            }
            let next = position + 1 < entries.count ? entries[position + 1].offset : limit ?? .max
            if whole > next, least < whole { shortBlock = entry.index }
            taken = max(taken, least)
            end = max(end, whole > next ? least : whole)
        }
        for locator in header.locators where locator.byteCount <= Self.locatorLimit && locator.offset < limit ?? 0 {
            end = max(end, (locator.offset + UInt64(locator.byteCount) + 511) / 512 * 512)
        }
    }

    /// Bytes of a block that belong to a disk of `size` bytes; 0 outside of it.
    static func usedBytes(of index: Int, size: UInt64) -> Int {
        guard index >= 0, index < VHDLimits.tableEntries else { return 0 }
        let start = UInt64(index) * UInt64(DiskGeometry.blockBytes)
        return start >= size ? 0 : Int(min(size - start, UInt64(DiskGeometry.blockBytes)))
    }

    /// Bytes that a block takes at least: its data may be short where the disk ends.
    private static func leastBytes(of index: Int, size: UInt64) -> UInt64 {
        let used = usedBytes(of: index, size: size)
        let data = used == 0 ? DiskGeometry.blockBytes : (used + 511) / 512 * 512
        return UInt64(SectorBitmap.byteCount + data)
    }
}
