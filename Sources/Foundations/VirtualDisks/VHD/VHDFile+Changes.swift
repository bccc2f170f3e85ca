import BackupFormats

extension VHDFile {
    /// Lays a block over what is there: sectors that it holds replace the file's, the others stay. A block that was
    /// absent is put behind all others, and named in the table on the disk by the next ``sync()``. The closing footer
    /// goes.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for a block behind the end of the disk, `unsupported` where
    ///   the file would have more blocks than a VHD can hold, and what the file throws.
    package func write(_ block: VHDBlock) async throws {
        guard block.index >= 0, VHDPlaces.usedBytes(of: block.index, size: size) > 0,
            block.bytes.count == DiskGeometry.blockBytes
        else { throw BackupFailure(.invalidInput, "Block \(block.index) does not belong to \(name)") }
        try await reopen()
        guard let sector = table[block.index], !unreadable.contains(block.index) else {
            try await append(block)
            unreadable.remove(block.index)
            return
        }
        if block.index == shortBlock {
            // Where it lies is no room for a whole block.
            var whole = block
            if let stored = try await self.block(block.index) { whole.fill(from: stored) }
            try await append(whole)
            shortBlock = nil
            return
        }
        let place = UInt64(sector) * 512
        let data = place + UInt64(SectorBitmap.byteCount)
        if block.sectors.isFull() {
            try await put(block.bytes, at: data)
            try await put(block.sectors.bytes, at: place)
            return
        }
        guard var sectors = SectorBitmap(try await file.read(at: place, count: SectorBitmap.byteCount)) else {
            throw BackupFailure(.corruptData, "\(name) ends inside of block \(block.index)")
        }
        for run in block.sectors.runs() {
            let range = run.lowerBound * 512..<run.upperBound * 512
            try await put(Array(block.bytes[range]), at: data + UInt64(range.lowerBound))
        }
        sectors.formUnion(block.sectors)
        try await put(sectors.bytes, at: place)
    }

    /// Has all that was written on the disk when it returns: blocks first, then the entries that name new ones.
    package func sync() async throws {
        try await file.sync()
        let named = unnamed
        guard !named.isEmpty else { return }
        let perSector = VHDLimits.sectorBytes / VHDBlockTable.entryBytes
        let sectors = Set(named.map { $0 / perSector }).sorted()
        for sector in sectors {
            try await file.write(
                table.encode(sector * perSector..<(sector + 1) * perSector),
                at: header.tableOffset + UInt64(sector * VHDLimits.sectorBytes))
        }
        try await file.sync()
        unnamed.subtract(named)
    }

    /// Ends changes: brings blocks and table to the disk, then writes the closing footer, then the one in front.
    ///
    /// - Parameter footer: What it becomes; size and type stay what they are. Nil: as it is.
    package func finish(_ footer: VHDFooter? = nil) async throws {
        var footer = footer ?? self.footer
        footer.currentSize = size
        footer.originalSize = min(footer.originalSize, size)
        footer.geometry = VHDGeometry(diskOf: size)
        footer.type = self.footer.type
        let bytes = footer.encode()
        try await sync()
        let closed = end + UInt64(VHDFooter.byteCount)
        try await file.write(bytes, at: end)
        if fileSize > closed { try await file.truncate(to: closed) }
        fileSize = closed
        try await file.sync()
        try await file.write(bytes, at: 0)
        try await file.sync()
        self.footer = footer
        isClosed = true
    }

    /// Names another parent. The header is written in one piece.
    package func setParent(_ uuid: DiskUUID, name parentName: String) async throws {
        guard parentName.utf16.count <= VHDHeader.parentNameUnits else {
            throw BackupFailure(.invalidInput, "The name of the parent of \(name) is too long for a VHD")
        }
        header.parentUUID = uuid
        header.parentName = parentName
        try await file.write(header.encode(), at: UInt64(VHDHeader.offset))
    }

    /// Makes the disk larger; the closing footer goes. Nothing happens where it is as large already.
    ///
    /// What lies where the longer table needs room, is moved behind all else.
    ///
    /// - Throws: ``BackupFailure`` of kind `unsupported` above ``VHDLimits/diskBytes``, and what the file throws.
    package func grow(to newSize: UInt64) async throws {
        guard newSize > size else { return }
        guard newSize <= VHDLimits.diskBytes else {
            throw BackupFailure(.unsupported, "A disk of \(newSize) bytes is too large for a VHD")
        }
        try await reopen()
        try checkEnd()
        try await clearPadding()
        try await sync()
        var longer = header
        longer.maxTableEntries = max(header.maxTableEntries, DiskGeometry.blockCount(newSize))
        if longer.tableEnd > header.tableEnd { try await moveAway(before: longer.tableEnd, &longer) }
        if longer != header {
            try await extendTable(to: longer)
            try await file.write(longer.encode(), at: UInt64(VHDHeader.offset))
            try await file.sync()
            header = longer
            table.grow(to: longer.maxTableEntries)
        }
        footer.currentSize = newSize
        footer.geometry = VHDGeometry(diskOf: newSize)
        try await file.write(footer.encode(), at: 0)
        try await file.sync()
    }

    // MARK: Parts

    /// Takes the closing footer away: from here on the file is one that is being changed.
    private func reopen() async throws {
        guard isClosed else { return }
        let open = min(end, fileSize - UInt64(VHDFooter.byteCount))
        try await file.truncate(to: open)
        fileSize = open
        isClosed = false
    }

    /// Puts a block behind all others.
    private func append(_ block: VHDBlock) async throws {
        try checkEnd()
        let sector = try reserve()
        let place = UInt64(sector) * 512
        try await SparseWriting.write(
            block.sectors.bytes, block.bytes, to: file, at: place, knownZeroFrom: fileSize)
        let blockEnd = place + UInt64(VHDLimits.storedBlockBytes)
        if ZeroBytes.isZero(block.bytes, block.bytes.count - VHDLimits.sectorBytes..<block.bytes.count),
            fileSize < blockEnd
        {
            try await file.truncate(to: blockEnd)
        }
        fileSize = max(fileSize, blockEnd)
        try name(sector, at: block.index)
    }

    /// What is there ends behind the end of the file by no more than the blocks that are missing there.
    private func checkEnd() throws {
        let missing = UInt64(unreadable.count + 1) * UInt64(VHDLimits.storedBlockBytes)
        guard end <= max(fileSize, header.tableEnd) + missing else {
            throw BackupFailure(.corruptData, "The table of \(name) names places far behind the end of the file")
        }
    }

    /// The sector of the next block.
    private func reserve() throws -> UInt32 {
        end = (max(end, header.tableEnd) + 511) / 512 * 512
        guard table.count < VHDLimits.blocksPerFile,
            let sector = UInt32(exactly: end / 512), sector < UInt32.max - UInt32(VHDLimits.storedBlockBytes / 512)
        else { throw BackupFailure(.unsupported, "\(name) would hold more than fits into a VHD") }
        end += UInt64(VHDLimits.storedBlockBytes)
        return sector
    }

    /// Notes a block's new place; the table on the disk learns it with the next ``sync()``.
    private func name(_ sector: UInt32, at index: Int) throws {
        try table.set(sector, at: index)
        unnamed.insert(index)
    }

    private func put(_ bytes: [UInt8], at offset: UInt64) async throws {
        try await file.write(bytes, at: offset)
        fileSize = max(fileSize, offset + UInt64(bytes.count))
    }

    /// Writes zeros behind the end of the disk, which become part of it.
    private func clearPadding() async throws {
        let index = Int(size / UInt64(DiskGeometry.blockBytes))
        let used = VHDPlaces.usedBytes(of: index, size: size)
        guard used > 0, used < DiskGeometry.blockBytes, let block = try await block(index) else { return }
        try await write(VHDBlock(index: index, bytes: block.bytes, sectors: block.sectors))
    }

    /// Copies blocks and locators that begin before `limit` behind all else.
    private func moveAway(before limit: UInt64, _ longer: inout VHDHeader) async throws {
        end = max(end, limit)
        var moved: [(index: Int, sector: UInt32)] = []
        for entry in table.entriesInFileOrder where entry.offset < limit {
            let bytes = try await file.read(at: entry.offset, count: VHDLimits.storedBlockBytes)
            let sector = try reserve()
            try await put(bytes, at: UInt64(sector) * 512)
            let blockEnd = UInt64(sector) * 512 + UInt64(VHDLimits.storedBlockBytes)
            if fileSize < blockEnd {
                try await file.truncate(to: blockEnd)
                fileSize = blockEnd
            }
            moved.append((entry.index, sector))
        }
        for (position, locator) in header.locators.enumerated()
        where locator.offset >= header.tableEnd && locator.offset < limit && locator.byteCount <= 4096 {
            end = (end + 511) / 512 * 512
            try await put(try await file.read(at: locator.offset, count: Int(locator.byteCount)), at: end)
            longer.locators[position].offset = end
            end += (UInt64(locator.byteCount) + 511) / 512 * 512
        }
        for (index, sector) in moved { try name(sector, at: index) }
        try await sync()
    }

    /// Marks the entries that are new as absent.
    private func extendTable(to longer: VHDHeader) async throws {
        var offset = header.tableOffset + UInt64(header.maxTableEntries * VHDBlockTable.entryBytes)
        while offset < longer.tableEnd {
            let count = Int(min(UInt64(Self.tablePieceBytes), longer.tableEnd - offset))
            try await put([UInt8](repeating: 0xff, count: count), at: offset)
            offset += UInt64(count)
        }
        end = max(end, longer.tableEnd)
        try await file.sync()
    }
}
