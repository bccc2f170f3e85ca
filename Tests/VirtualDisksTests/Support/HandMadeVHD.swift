import VirtualDisks

/// Writes VHDs byte by byte, as foreign programs might, without the code under test; each member is a way to differ.
struct HandMadeVHD {
    struct Block {
        var index: Int
        var bytes: [UInt8]
        var bitmap = [UInt8](repeating: 0xff, count: 512)
        /// Bytes between what lies before it and its bitmap.
        var gap = 0
        /// Bytes of data that are stored.
        var stored = 2 << 20
    }

    var size: UInt64
    var type: UInt32 = 3
    var uuid = [UInt8](0x10...0x1f)
    var parentUUID = [UInt8](repeating: 0, count: 16)
    var parentName = ""
    /// In file order.
    var blocks: [Block] = []
    var tableOffset = 1536
    /// At this offset, before the table, a locator of 512 bytes.
    var locator: Int?
    var entryCount: Int?
    var blockBytes: UInt32 = 2 << 20
    /// Blanks before the last footer.
    var blanks = 0
    /// Entries to write in place of the right ones.
    var entries: [Int: UInt32] = [:]

    func footer() -> [UInt8] {
        var bytes = Array("conectix".utf8) + big(2, 4) + big(0x10000, 4) + big(512, 8) + big(7, 4)
        bytes += Array("hand".utf8) + big(3, 4) + Array("Wi2k".utf8) + big(size, 8) + big(size, 8)
        bytes += [0x12, 0x34, 4, 17] + big(UInt64(type), 4) + big(0, 4) + uuid
        bytes += [UInt8](repeating: 0, count: 512 - bytes.count)
        return summed(bytes, at: 64)
    }

    func header() -> [UInt8] {
        var bytes = Array("cxsparse".utf8) + big(.max, 8) + big(UInt64(tableOffset), 8) + big(0x10000, 4)
        bytes +=
            big(UInt64(tableEntries), 4) + big(UInt64(blockBytes), 4) + big(0, 4) + parentUUID + big(0, 4) + big(0, 4)
        for unit in parentName.utf16 { bytes += big(UInt64(unit), 2) }
        bytes += [UInt8](repeating: 0, count: 576 - bytes.count)
        if let locator { bytes += Array("W2ku".utf8) + big(1, 4) + big(20, 4) + big(0, 4) + big(UInt64(locator), 8) }
        bytes += [UInt8](repeating: 0, count: 1024 - bytes.count)
        return summed(bytes, at: 36)
    }

    func encode() -> [UInt8] {
        var bytes = footer() + header()
        if let locator {
            bytes += [UInt8](repeating: 0xaa, count: locator - bytes.count) + [UInt8](repeating: 0xbb, count: 512)
        }
        bytes += [UInt8](repeating: 0xcc, count: tableOffset - bytes.count)
        let tableBytes = (tableEntries * 4 + 511) / 512 * 512
        var table = [UInt8](repeating: 0xff, count: tableBytes)
        var body: [UInt8] = []
        for block in blocks {
            body += [UInt8](repeating: 0xdd, count: block.gap)
            let sector = UInt64(tableOffset + tableBytes + body.count) / 512
            table.replaceSubrange(block.index * 4..<block.index * 4 + 4, with: big(sector, 4))
            body += block.bitmap + block.bytes[..<block.stored]
        }
        for (index, sector) in entries {
            table.replaceSubrange(index * 4..<index * 4 + 4, with: big(UInt64(sector), 4))
        }
        return bytes + table + body + [UInt8](repeating: 0, count: blanks) + footer()
    }

    private var tableEntries: Int { entryCount ?? DiskGeometry.blockCount(size) }
}

/// The last `count` bytes of a number, the highest first.
func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
}

/// With the checksum of a VHD at `offset`, where zeros stand.
func summed(_ bytes: [UInt8], at offset: Int) -> [UInt8] {
    var bytes = bytes
    let sum = bytes.reduce(0) { $0 + UInt64($1) }
    bytes.replaceSubrange(offset..<offset + 4, with: big(~sum, 4))
    return bytes
}
