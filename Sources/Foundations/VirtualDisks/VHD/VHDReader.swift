package import BackupFormats

/// A VHD that arrives as a stream, read forward only: a disk that a host exports. (Spec: xo-proxy §7.4.)
///
/// Blocks come in the order of the file, which need not be that of the disk. Gaps between structures are passed over,
/// locators among them. The disk's last block may be stored short. Blanks may stand before the last footer, which must
/// be the first one again: only then the transfer was whole, and only then `nextBlock` gives nil.
///
/// Sectors whose bit is clear are zeros on a dynamic disk. On a differencing disk they are the parent's, which a stream
/// does not hold: a block of which some sectors are the parent's is refused (`unsupported`), one of which all are does
/// not come. Hosts export whole blocks only.
///
/// Memory: one block, one piece of the source, and 16 bytes for each block that comes.
package actor VHDReader: DiskSource {
    /// What a host may put in the body where a disk should be.
    private static let responseStart = Array("HTTP/".utf8)
    private static let responseLimit = 4096
    private static let tablePieceBytes = 64 << 10

    package nonisolated let size: UInt64
    package nonisolated let isDifferencing: Bool
    package nonisolated let footer: VHDFooter
    package nonisolated let header: VHDHeader
    private nonisolated let table: VHDBlockTable
    private let name: String
    private let input: ForwardReader
    private let firstFooter: [UInt8]
    private let entries: [VHDBlockTable.Entry]
    private var next = 0
    private var isOver = false
    private var failure: (any Error)?

    /// Indexes of the blocks that the stream announces, ascending.
    package nonisolated var presentBlocks: [Int] {
        let count = DiskGeometry.blockCount(size)
        return table.presentBlocks.filter { $0 < count }
    }

    /// Identity of the disk.
    package nonisolated var uuid: DiskUUID { footer.uuid }
    /// Identity of the disk that this one is the difference to.
    package nonisolated var parentUUID: DiskUUID? { isDifferencing ? header.parentUUID : nil }

    /// Reads up to the end of the block table.
    ///
    /// - Parameter name: What the disk is called in errors: `disk xvda of web1`.
    /// - Throws: ``BackupFailure`` of kind `corruptData` where this is no VHD, `unavailable` where the stream ends too
    ///   early or holds an HTTP response, and what the source throws.
    package static func open(_ source: any ByteSource, name: String = "disk") async throws -> VHDReader {
        let input = ForwardReader(source)
        do {
            let start = try await input.read(responseStart.count)
            if start == responseStart { throw await inBodyResponse(input, name) }
            let firstFooter = start + (try await input.read(VHDFooter.byteCount - start.count))
            let footer = try VHDFooter(parsing: firstFooter)
            let header = try VHDHeader(parsing: try await input.read(VHDHeader.byteCount))
            guard header.maxTableEntries >= DiskGeometry.blockCount(footer.currentSize) else {
                throw FormatError.invalid("the block table is too short for the disk", offset: VHDHeader.offset + 28)
            }
            let table = try await readTable(input, header)
            let places = VHDPlaces(table, header: header, size: footer.currentSize, limit: nil)
            if let problem = places.problem { throw problem }
            return VHDReader(
                name: name, input: input, firstFooter: firstFooter, footer: footer, header: header,
                table: table)
        } catch {
            throw Self.failure(error, name)
        }
    }

    private init(
        name: String, input: sending ForwardReader, firstFooter: [UInt8], footer: VHDFooter, header: VHDHeader,
        table: VHDBlockTable
    ) {
        self.name = name
        self.input = input
        self.firstFooter = firstFooter
        self.footer = footer
        self.header = header
        self.table = table
        entries = table.entriesInFileOrder
        size = footer.currentSize
        isDifferencing = footer.type == .differencing
    }

    /// What the table says. A block of a differencing disk without any sector of its own is announced, too, but does
    /// not come.
    package nonisolated func willCome(_ index: Int) -> Bool? {
        VHDPlaces.usedBytes(of: index, size: size) > 0 && table[index] != nil
    }

    package func nextBlock() async throws -> DiskBlock? {
        if let failure { throw failure }
        do {
            while next < entries.count {
                let entry = entries[next]
                next += 1
                if let block = try await read(entry) { return block }
            }
            if !isOver { try await checkEnd() }
            isOver = true
            return nil
        } catch {
            let described = Self.failure(error, name)
            failure = described
            throw described
        }
    }

    /// Nil for a block that has nothing of its own.
    private func read(_ entry: VHDBlockTable.Entry) async throws -> DiskBlock? {
        let used = VHDPlaces.usedBytes(of: entry.index, size: size)
        guard used > 0 else { return nil }
        try await input.skip(to: entry.offset)
        guard let bitmap = SectorBitmap(try await input.read(SectorBitmap.byteCount)) else { return nil }
        let sectors = (used + VHDLimits.sectorBytes - 1) / VHDLimits.sectorBytes
        var bytes: [UInt8] = []
        bytes.reserveCapacity(DiskGeometry.blockBytes)
        try await input.read(sectors * VHDLimits.sectorBytes, into: &bytes)
        bytes.removeLast(bytes.count - used)
        bytes.appendZeros(DiskGeometry.blockBytes - used)
        if !bitmap.isFull(sectors) {
            if isDifferencing {
                guard bitmap.isEmpty(sectors) else {
                    throw BackupFailure(
                        .unsupported, "Block \(entry.index) of \(name) comes in part only, which is not supported yet",
                        hints: ["Back the disk up in full."])
                }
                return nil
            }
            for run in bitmap.runs(of: false) {
                for byte in run.lowerBound * VHDLimits.sectorBytes..<run.upperBound * VHDLimits.sectorBytes {
                    bytes[byte] = 0
                }
            }
        }
        return DiskBlock(index: entry.index, bytes: bytes)
    }

    private func checkEnd() async throws {
        let last = try await input.readToEnd(keepingLast: VHDFooter.byteCount)
        guard last == firstFooter else {
            throw BackupFailure(
                .unavailable,
                "The transfer of \(name) was cut: after \(input.position) bytes its closing footer is missing")
        }
    }

    private nonisolated(nonsending) static func readTable(
        _ input: ForwardReader, _ header: VHDHeader
    ) async throws -> VHDBlockTable {
        try await input.skip(to: header.tableOffset)
        var table = VHDBlockTable(entryCount: header.maxTableEntries)
        var remaining = VHDBlockTable.byteCount(entryCount: header.maxTableEntries)
        var first = 0
        while remaining > 0 {
            let piece = try await input.read(min(remaining, tablePieceBytes))
            try table.append(parsing: piece, first: first)
            remaining -= piece.count
            first += piece.count / VHDBlockTable.entryBytes
        }
        return table
    }

    private nonisolated(nonsending) static func inBodyResponse(_ input: ForwardReader, _ name: String) async
        -> BackupFailure
    {
        let rest = (try? await input.readToEnd(limit: responseLimit)) ?? []
        let text = String(decoding: responseStart + rest, as: UTF8.self).split(whereSeparator: \.isNewline)
            .joined(separator: " ")
        return BackupFailure(.unavailable, "The host sent an HTTP response in the place of \(name): \(text)")
    }

    private static func failure(_ error: any Error, _ name: String) -> any Error {
        switch error {
        case let ended as ForwardReader.Ended:
            BackupFailure(.unavailable, "The transfer of \(name) was cut after \(ended.position) bytes", cause: ended)
        case let format as FormatError:
            BackupFailure(.corruptData, "What came for \(name) is not a VHD that can be read", cause: format)
        default: error
        }
    }
}
