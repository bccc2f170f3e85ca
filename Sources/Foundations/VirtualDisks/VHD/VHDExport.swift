import BackupFormats

/// A whole disk as the stream of a dynamic VHD, for import on a host. (Spec: xo-proxy §7.4.)
///
/// Footer, header, table, the blocks that are present in ascending order, each whole with all bits set, footer. The
/// length is known before the first byte. Blocks are read a few ahead; memory is that and the list of blocks.
package actor VHDExport: ByteSource {
    private static let tablePieceEntries = 16 << 10

    private enum Part {
        case start
        /// Table from this entry on.
        case table(Int)
        case blocks
        case end
        case over
    }

    /// Length of the stream.
    package nonisolated let byteCount: UInt64
    private let footer: [UInt8]
    private let header: VHDHeader
    private let table: VHDBlockTable
    private let blocks: BlocksAhead
    private var part = Part.start
    private var piece: [UInt8] = []
    private var given = 0

    /// - Parameters:
    ///   - uuid: Identity that the footer names.
    ///   - timeStamp: Of the footer, in seconds; informative.
    /// - Throws: ``BackupFailure`` of kind `unsupported` for a disk that no VHD can hold, and what the view throws.
    package static func open(_ view: any DiskView, uuid: DiskUUID, timeStamp: UInt32 = 0) async throws -> VHDExport {
        let size = view.size
        guard size <= VHDLimits.diskBytes else {
            throw BackupFailure(.unsupported, "A disk of \(size) bytes is too large for a VHD")
        }
        let count = DiskGeometry.blockCount(size)
        let present = try await view.presentBlocks().filter { $0 >= 0 && $0 < count }
        let header = VHDHeader(size: size)
        var table = VHDBlockTable(entryCount: header.maxTableEntries)
        var end = header.tableEnd
        do {
            for index in present {
                try table.set(UInt32(end / 512), at: index)
                end += UInt64(VHDLimits.storedBlockBytes)
            }
        } catch {
            throw BackupFailure(.unsupported, "The disk holds more than fits into a VHD", cause: error)
        }
        return VHDExport(
            footer: VHDFooter(size: size, type: .dynamic, uuid: uuid, timeStamp: timeStamp).encode(), header: header,
            table: table, blocks: BlocksAhead(view, present), byteCount: end + UInt64(VHDFooter.byteCount))
    }

    private init(
        footer: [UInt8], header: VHDHeader, table: VHDBlockTable, blocks: BlocksAhead, byteCount: UInt64
    ) {
        self.footer = footer
        self.header = header
        self.table = table
        self.blocks = blocks
        self.byteCount = byteCount
    }

    package func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if given == piece.count {
            piece = []
            given = 0
            guard let next = try await nextPiece() else { return nil }
            piece = next
        }
        if given == 0, piece.count <= maxBytes {
            defer { piece = [] }
            return piece
        }
        let end = min(piece.count, given + maxBytes)
        defer { given = end }
        return Array(piece[given..<end])
    }

    private func nextPiece() async throws -> [UInt8]? {
        switch part {
        case .start:
            part = header.maxTableEntries > 0 ? .table(0) : .blocks
            return footer + header.encode()
        case .table(let first):
            // Whole sectors: the padding behind the last entry is part of the last piece.
            let padded = VHDBlockTable.byteCount(entryCount: header.maxTableEntries) / VHDBlockTable.entryBytes
            let end = min(padded, first + Self.tablePieceEntries)
            part = end < padded ? .table(end) : .blocks
            return table.encode(first..<end)
        case .blocks:
            guard let block = try await blocks.next() else {
                part = .end
                return try await nextPiece()
            }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(VHDLimits.storedBlockBytes)
            bytes.append(contentsOf: SectorBitmap.full.bytes)
            bytes.append(contentsOf: block.bytes)
            return bytes
        case .end:
            part = .over
            return footer
        case .over: return nil
        }
    }
}
