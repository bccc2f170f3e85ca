package import BackupFormats

/// Where each block of a VHD lies in the file. (Spec: xo-proxy §7.3.)
///
/// On disk an array of big-endian numbers of sectors (unsigned; all ones: absent), filled up with ones to a whole
/// sector. In memory only the blocks that are there, 8 bytes each: a table costs what the disk holds, not how large it
/// is.
package struct VHDBlockTable: Sendable, Equatable {
    package static let entryBytes = 4
    private static let absent = UInt32.max

    /// A block that is there.
    package struct Entry: Sendable, Equatable {
        private let place: UInt32
        package let sector: UInt32

        fileprivate init(place: UInt32, sector: UInt32) {
            self.place = place
            self.sector = sector
        }

        package var index: Int { Int(place) }

        /// First byte of its bitmap in the file.
        package var offset: UInt64 { UInt64(sector) * 512 }
    }

    /// Entries on disk, absent ones included.
    package private(set) var entryCount: Int
    private var indexes: [UInt32] = []
    private var sectors: [UInt32] = []

    /// A table without blocks; at most ``VHDLimits/tableEntries``.
    package init(entryCount: Int) {
        self.entryCount = min(entryCount, VHDLimits.tableEntries)
    }

    /// Bytes on disk, whole sectors.
    package static func byteCount(entryCount: Int) -> Int {
        (entryCount * entryBytes + VHDLimits.sectorBytes - 1) / VHDLimits.sectorBytes * VHDLimits.sectorBytes
    }

    /// Blocks that are there.
    package var count: Int { indexes.count }
    /// Their indexes, ascending.
    package var presentBlocks: [Int] { indexes.map { Int($0) } }
    package var entriesInFileOrder: [Entry] {
        zip(indexes, sectors).map { Entry(place: $0, sector: $1) }.sorted { $0.sector < $1.sector }
    }

    /// The sector at which a block begins; nil where it is absent.
    package subscript(index: Int) -> UInt32? {
        let place = place(of: index)
        return place < indexes.count && indexes[place] == index ? sectors[place] : nil
    }

    /// - Throws: ``FormatError`` where the file would hold more blocks than have sectors.
    package mutating func set(_ sector: UInt32, at index: Int) throws(FormatError) {
        let place = place(of: index)
        if place < indexes.count, indexes[place] == index {
            sectors[place] = sector
            return
        }
        guard index >= 0, index < entryCount else {
            throw .invalid("block \(index) is outside of the table", offset: 0)
        }
        guard count < VHDLimits.blocksPerFile else {
            throw .tooLong(UInt64(count) + 1, limit: VHDLimits.blocksPerFile, offset: 0)
        }
        indexes.insert(UInt32(index), at: place)
        sectors.insert(sector, at: place)
    }

    /// Takes entries as they are read, in order, `first` being the index of the first of them. Padding behind the last
    /// entry is passed over.
    ///
    /// - Throws: ``FormatError`` where there are more blocks than a file can hold.
    package mutating func append(parsing bytes: [UInt8], first: Int) throws(FormatError) {
        var reader = ByteReader(bytes.span)
        var index = first
        while reader.remaining >= Self.entryBytes, index < entryCount {
            let sector: UInt32 = try reader.readBigEndian()
            if sector != Self.absent { try set(sector, at: index) }
            index += 1
        }
    }

    /// The entries of `range` as they stand on disk; those behind the last entry are padding.
    package func encode(_ range: Range<Int>) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xff, count: range.count * Self.entryBytes)
        var place = place(of: range.lowerBound)
        while place < indexes.count, indexes[place] < range.upperBound {
            let start = (Int(indexes[place]) - range.lowerBound) * Self.entryBytes
            for byte in 0..<4 {
                bytes[start + byte] = UInt8(truncatingIfNeeded: sectors[place] >> UInt32(24 - 8 * byte))
            }
            place += 1
        }
        return bytes
    }

    /// Makes room for more entries, which are absent; never fewer than before.
    package mutating func grow(to entryCount: Int) {
        self.entryCount = min(max(self.entryCount, entryCount), VHDLimits.tableEntries)
    }

    private func place(of index: Int) -> Int {
        if let last = indexes.last, last < index { return indexes.count }
        var low = 0
        var high = indexes.count
        while low < high {
            let middle = (low + high) / 2
            if indexes[middle] < index { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
