import BackupFormats

/// A VHD in a file, read and changed at any place. (Spec: xo-proxy §7.)
///
/// Reading may be done by several at once; changes are made by one at a time, while nobody reads.
///
/// A kill or a loss of power at any moment leaves one of two things: a file that opens strictly and has all that it
/// had, or one that opens leniently, in which every block is as before, or as written, or (only those that were
/// overwritten since the last ``sync()``) a mixture of both. In particular:
///
/// - The first change takes the closing footer away; ``finish(_:)`` puts one there when everything before it is on the
///   disk, and only then touches the footer in front. Until both agree the file opens leniently only, with the old
///   footer.
/// - A block that is new lies whole on the disk, behind all others, before the table on the disk names it: that happens
///   in ``sync()``. A block that was not synced may be absent again.
/// - ``grow(to:)`` moves blocks out of the way by copying: the old place is overwritten only when the table on the disk
///   names the new one. It can be repeated from any point.
///
/// So ``sync()`` before anything else is made to depend on blocks that were written: a note of progress, the removal of
/// the file that they came from.
package actor VHDFile {
    package enum Strictness: Sendable {
        /// Both footers are there and alike.
        case strict
        /// A change may have been interrupted: one of the footers may be missing, broken or another than the other, and
        /// blocks of the table may lie inside of others or behind the end of the file, which is an error only where
        /// such a block is read.
        case lenient
    }

    static let tablePieceBytes = 64 << 10

    /// What it is called in errors.
    package nonisolated let name: String
    let file: any RandomAccess
    package internal(set) var footer: VHDFooter
    package internal(set) var header: VHDHeader
    package internal(set) var table: VHDBlockTable
    /// First byte behind all that the header and the table name: where the next block goes.
    var end: UInt64
    /// What lies behind it was never written and is zeros.
    var fileSize: UInt64
    /// The disk's last block, where it is stored shorter than others are.
    var shortBlock: Int?
    /// Blocks that the table on the disk does not name yet where they are.
    var unnamed: Set<Int> = []
    /// Blocks that lie where none can be.
    var unreadable: Set<Int>
    /// Whether the closing footer is there.
    var isClosed: Bool

    /// Opens a file.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it is no VHD, or not whole, and what the file throws.
    package static func open(
        _ file: any RandomAccess, name: String, _ strictness: Strictness
    ) async throws -> VHDFile {
        do {
            let fileSize = try await file.size()
            let (footer, isClosed) = try await readFooters(file, fileSize, strictness)
            let header = try VHDHeader(
                parsing: try await file.read(at: UInt64(VHDHeader.offset), count: VHDHeader.byteCount))
            guard header.maxTableEntries >= DiskGeometry.blockCount(footer.currentSize) else {
                throw FormatError.invalid("the block table is too short for the disk", offset: VHDHeader.offset + 28)
            }
            let table = try await readTable(file, header)
            let limit = isClosed ? fileSize - UInt64(VHDFooter.byteCount) : fileSize
            let places = VHDPlaces(table, header: header, size: footer.currentSize, limit: limit)
            if let problem = places.problem, strictness == .strict { throw problem }
            return VHDFile(
                name: name, file: file, footer: footer, header: header, table: table, places: places,
                fileSize: fileSize, isClosed: isClosed)
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "\(name) is not a VHD that can be read", cause: error)
        }
    }

    /// The footer, and whether it stands at both ends.
    private static func readFooters(
        _ file: any RandomAccess, _ fileSize: UInt64, _ strictness: Strictness
    ) async throws -> (VHDFooter, isClosed: Bool) {
        let first = try await file.read(at: 0, count: VHDFooter.byteCount)
        let last =
            fileSize >= UInt64(VHDFooter.byteCount)
            ? try await file.read(at: fileSize - UInt64(VHDFooter.byteCount), count: VHDFooter.byteCount) : []
        do throws(FormatError) {
            let footer = try VHDFooter(parsing: first)
            guard first == last || strictness == .lenient else {
                throw .invalid("the closing footer is missing or differs from the first", offset: Int(fileSize))
            }
            return (footer, first == last)
        } catch {
            guard strictness == .lenient, let footer = try? VHDFooter(parsing: last) else { throw error }
            return (footer, false)
        }
    }

    init(
        name: String, file: any RandomAccess, footer: VHDFooter, header: VHDHeader, table: VHDBlockTable,
        places: VHDPlaces, fileSize: UInt64, isClosed: Bool
    ) {
        self.name = name
        self.file = file
        self.footer = footer
        self.header = header
        self.table = table
        end = places.end
        shortBlock = places.shortBlock
        unreadable = places.unreadable
        self.fileSize = fileSize
        self.isClosed = isClosed
    }

    /// Identity of the disk.
    package var uuid: DiskUUID { footer.uuid }
    /// Virtual size in bytes.
    package var size: UInt64 { footer.currentSize }
    package var isDifferencing: Bool { footer.type == .differencing }
    /// Identity of the disk that this one is the difference to.
    package var parentUUID: DiskUUID? { isDifferencing ? header.parentUUID : nil }
    /// Indexes of the blocks that are there, ascending; blocks behind the end of the disk are left out.
    package var presentBlocks: [Int] {
        let count = DiskGeometry.blockCount(size)
        return table.presentBlocks.filter { $0 < count }
    }

    /// A block as it is stored; nil where it is absent. Behind the end of the disk it holds zeros that are there.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where the file ends inside of it, and what the file throws.
    package func block(_ index: Int) async throws -> VHDBlock? {
        let used = VHDPlaces.usedBytes(of: index, size: size)
        guard used > 0, let sector = table[index] else { return nil }
        guard !unreadable.contains(index) else {
            throw BackupFailure(.corruptData, "Block \(index) of \(name) lies where none can be")
        }
        let count = (used + VHDLimits.sectorBytes - 1) / VHDLimits.sectorBytes
        let stored = try await file.read(at: UInt64(sector) * 512, count: SectorBitmap.byteCount + count * 512)
        guard stored.count == SectorBitmap.byteCount + count * 512,
            var sectors = SectorBitmap(Array(stored[..<SectorBitmap.byteCount]))
        else { throw BackupFailure(.corruptData, "\(name) ends inside of block \(index)") }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(DiskGeometry.blockBytes)
        bytes.append(contentsOf: stored[SectorBitmap.byteCount..<SectorBitmap.byteCount + used])
        bytes.appendZeros(DiskGeometry.blockBytes - used)
        if !sectors.isFull(count) {
            for run in sectors.runs(of: false) where run.lowerBound < count {
                let range = run.lowerBound * 512..<min(run.upperBound, count) * 512
                bytes.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
            }
        }
        for sector in count..<SectorBitmap.sectorCount { sectors[sector] = true }
        return VHDBlock(index: index, bytes: bytes, sectors: sectors)
    }

    private static func readTable(_ file: any RandomAccess, _ header: VHDHeader) async throws -> VHDBlockTable {
        var table = VHDBlockTable(entryCount: header.maxTableEntries)
        var remaining = VHDBlockTable.byteCount(entryCount: header.maxTableEntries)
        var offset = header.tableOffset
        var first = 0
        while remaining > 0 {
            let wanted = min(remaining, tablePieceBytes)
            let piece = try await file.read(at: offset, count: wanted)
            guard piece.count == wanted else {
                throw FormatError.truncated(offset: Int(offset), needed: wanted, available: piece.count)
            }
            try table.append(parsing: piece, first: first)
            remaining -= wanted
            offset += UInt64(wanted)
            first += wanted / VHDBlockTable.entryBytes
        }
        return table
    }
}
