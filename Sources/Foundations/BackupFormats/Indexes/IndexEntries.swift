import Crypto

/// One row of a dynamic index: where a chunk ends in the stream, and its digest.
package struct DynamicIndexEntry: Hashable, Sendable {
    package static let byteCount = DynamicIndexHeader.entryByteCount

    /// Exclusive end of the chunk in the stream; it starts at the end of the entry before.
    package let end: UInt64
    package let digest: ChunkDigest

    package init(end: UInt64, digest: ChunkDigest) {
        self.end = end
        self.digest = digest
    }

    package init(from reader: inout ByteReader) throws(FormatError) {
        end = try reader.read()
        digest = try ChunkDigest(from: &reader)
    }

    /// Appends the 40 bytes.
    package func append(to output: inout [UInt8]) {
        output.appendLittleEndian(end)
        digest.append(to: &output)
    }
}

/// The checksum of a fixed index while its digests pass by in image order.
package struct FixedIndexChecksum {
    private var hasher = SHA256()
    /// Digests seen so far.
    package private(set) var count = 0

    package init() {}

    package mutating func add(_ digest: ChunkDigest) {
        hasher.update(data: digest.bytes)
        count += 1
    }

    /// Adds a piece of the digest table, for those who need the checksum only.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)`` where the piece is no whole number of digests.
    package mutating func add(table: [UInt8]) throws(FormatError) {
        try requireWholeEntries(table.count, of: FixedIndexHeader.entryByteCount)
        hasher.update(data: table)
        count += table.count / FixedIndexHeader.entryByteCount
    }

    /// The checksum over what was added so far; more may be added afterwards.
    package var value: ChunkDigest { ChunkDigest(hasher.finalize()) }
}

/// The checksum of a dynamic index while its entries pass by, and the order that they must have.
package struct DynamicIndexChecksum {
    private var hasher = SHA256()
    /// Entries seen so far.
    package private(set) var count = 0
    /// End of the last entry: the size of the stream so far.
    package private(set) var size: UInt64 = 0

    package init() {}

    /// - Returns: Where the chunk lies in the stream.
    /// - Throws: ``FormatError/invalid(_:offset:)`` where the end is not behind
    ///   that of the entry before, ``FormatError/tooLong(_:limit:offset:)`` where the chunk would be
    ///   above ``BlobLimits/maxChunkContent``. Offsets count from the start of the file. Nothing is added then.
    @discardableResult
    package mutating func add(_ entry: DynamicIndexEntry) throws(FormatError) -> Range<UInt64> {
        let start = size
        try checkOrder(entry.end)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(DynamicIndexEntry.byteCount)
        entry.append(to: &bytes)
        hasher.update(data: bytes)
        count += 1
        size = entry.end
        return start..<entry.end
    }

    /// Adds a piece of the entry table.
    ///
    /// - Throws: As ``add(_:)``, and ``FormatError/truncated(offset:needed:available:)`` where the
    ///   piece is no whole number of entries. The checksum is of no use then.
    package mutating func add(table: [UInt8]) throws(FormatError) {
        try requireWholeEntries(table.count, of: DynamicIndexEntry.byteCount)
        var reader = ByteReader(table.span)
        while reader.remaining > 0 {
            let end: UInt64 = try reader.read()
            try checkOrder(end)
            try reader.skip(ChunkDigest.byteCount)
            count += 1
            size = end
        }
        hasher.update(data: table)
    }

    private func checkOrder(_ end: UInt64) throws(FormatError) {
        let offset = DynamicIndexHeader.offset(ofEntry: count)
        guard end > size else { throw .invalid("entry \(count) ends at or before the one in front", offset: offset) }
        guard end <= UInt64(Int64.max) else { throw .tooLong(end, limit: Int.max, offset: offset) }
        guard end - size <= BlobLimits.maxChunkContent else {
            throw .tooLong(end - size, limit: BlobLimits.maxChunkContent, offset: offset)
        }
    }

    /// The checksum over what was added so far; more may be added afterwards.
    package var value: ChunkDigest { ChunkDigest(hasher.finalize()) }
}

private func requireWholeEntries(_ count: Int, of entryByteCount: Int) throws(FormatError) {
    let rest = count % entryByteCount
    guard rest == 0 else { throw .truncated(offset: count - rest, needed: entryByteCount, available: rest) }
}
