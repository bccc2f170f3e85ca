import BackupFormats

/// Writes a new VHD file from blocks in any order. (Spec: xo-proxy §7.4.)
///
/// Blocks are put one behind the other as they come, zeros in them as holes. The front of the file stays empty until
/// ``finish()``: it writes table, header and closing footer, has them on the disk, and only then the footer in front,
/// without which no reader takes the file for a VHD.
package actor VHDFileWriter {
    /// Name and identity of the disk that a new one is the difference to.
    package struct Parent: Sendable {
        package let uuid: DiskUUID
        /// Path relative to the folder of the new file.
        package let name: String

        package init(uuid: DiskUUID, name: String) {
            self.uuid = uuid
            self.name = name
        }
    }

    private let file: any RandomAccess
    private let name: String
    private let footer: VHDFooter
    private let header: VHDHeader
    private var table: VHDBlockTable
    private var end: UInt64
    /// Bytes of blocks and bitmaps that were stored, holes included.
    package private(set) var storedBytes: UInt64 = 0

    /// - Parameters:
    ///   - file: What it holds goes.
    ///   - name: What it is called in errors.
    ///   - parent: For a differencing disk.
    ///   - timeStamp: Of the footer, in seconds; informative.
    /// - Throws: ``BackupFailure`` of kind `unsupported` for a disk above ``VHDLimits/diskBytes``, `invalidInput` where
    ///   the parent's name is too long, and what the file throws.
    package static func create(
        _ file: any RandomAccess, name: String, size: UInt64, uuid: DiskUUID, parent: Parent? = nil,
        timeStamp: UInt32 = 0
    ) async throws -> VHDFileWriter {
        guard size <= VHDLimits.diskBytes else {
            throw BackupFailure(.unsupported, "A disk of \(size) bytes is too large for a VHD")
        }
        guard (parent?.name.utf16.count ?? 0) <= VHDHeader.parentNameUnits else {
            throw BackupFailure(.invalidInput, "The name of the parent of \(name) is too long for a VHD")
        }
        if try await file.size() > 0 { try await file.truncate(to: 0) }
        return VHDFileWriter(
            file, name: name,
            footer: VHDFooter(
                size: size, type: parent == nil ? .dynamic : .differencing, uuid: uuid, timeStamp: timeStamp),
            header: VHDHeader(size: size, parent: parent.map { ($0.uuid, $0.name) }))
    }

    private init(_ file: any RandomAccess, name: String, footer: VHDFooter, header: VHDHeader) {
        self.file = file
        self.name = name
        self.footer = footer
        self.header = header
        table = VHDBlockTable(entryCount: header.maxTableEntries)
        end = header.tableEnd
    }

    /// Stores a block. Of a dynamic disk, one that is all zeros is left out.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` for a block behind the end of the disk or one that was there
    ///   before, `unsupported` where the file would have more blocks than a VHD can hold, and what the file throws.
    package func write(_ block: DiskBlock) async throws {
        try await write(VHDBlock(index: block.index, bytes: block.bytes))
    }

    /// Stores a block of which some sectors may be the parent's.
    package func write(_ block: VHDBlock) async throws {
        guard block.bytes.count == DiskGeometry.blockBytes, block.index >= 0, block.index < header.maxTableEntries,
            table[block.index] == nil
        else { throw BackupFailure(.corruptData, "Block \(block.index) does not belong into \(name), or comes twice") }
        if footer.type == .dynamic, ZeroBytes.isZero(block.bytes) { return }
        guard table.count < VHDLimits.blocksPerFile,
            let sector = UInt32(exactly: end / 512), sector < UInt32.max - UInt32(VHDLimits.storedBlockBytes / 512)
        else { throw BackupFailure(.unsupported, "\(name) would hold more than fits into a VHD") }
        let place = end
        try table.set(sector, at: block.index)
        end += UInt64(VHDLimits.storedBlockBytes)
        storedBytes += UInt64(VHDLimits.storedBlockBytes)
        try await SparseWriting.write(block.sectors.bytes, block.bytes, to: file, at: place, knownZeroFrom: place)
    }

    /// Makes a VHD of it. When it returns, all is on the disk.
    ///
    /// - Returns: Length of the file.
    @discardableResult
    package func finish() async throws -> UInt64 {
        let padded = VHDBlockTable.byteCount(entryCount: header.maxTableEntries) / VHDBlockTable.entryBytes
        var first = 0
        while first < padded {
            let next = min(padded, first + VHDFile.tablePieceBytes / VHDBlockTable.entryBytes)
            let offset = header.tableOffset + UInt64(first * VHDBlockTable.entryBytes)
            try await file.write(table.encode(first..<next), at: offset)
            first = next
        }
        try await file.write(header.encode(), at: UInt64(VHDHeader.offset))
        try await file.write(footer.encode(), at: end)
        try await file.sync()
        try await file.write(footer.encode(), at: 0)
        try await file.sync()
        return end + UInt64(VHDFooter.byteCount)
    }
}
