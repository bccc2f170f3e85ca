/// What both kinds of index have in common. (Spec: formats §2, §3.)
package enum IndexLayout {
    /// Both headers fill one page; the entries follow.
    package static let headerByteCount = 4096
    /// Where the checksum field starts, in both kinds.
    package static let checksumOffset = 32
}

/// The first 4096 bytes of a `.fidx` file: an image cut into chunks of equal size.
///
/// | Offset | Size | Field                                        |
/// |-------:|-----:|----------------------------------------------|
/// |      0 |    8 | magic                                        |
/// |      8 |   16 | uuid                                         |
/// |     24 |    8 | time of creation, Unix seconds               |
/// |     32 |   32 | checksum: SHA-256 of all digests in order    |
/// |     64 |    8 | size of the image in bytes                   |
/// |     72 |    8 | chunk size, a power of two                   |
/// |     80 | 4016 | zero when written, not looked at when read   |
///
/// Then 32 bytes of digest for each chunk; the file has exactly that length.
package struct FixedIndexHeader: Equatable, Sendable {
    package static let magic: UInt64 = 0xcd0f_fd91_ed41_7f2f
    package static let byteCount = IndexLayout.headerByteCount
    package static let entryByteCount = 32
    /// The only chunk size that servers take from clients.
    package static let serverChunkByteCount = 4 << 20
    /// More chunks than a petabyte at 4 MiB would need are refused.
    package static let maxEntryCount = 1 << 28

    package var uuid: SIMD16<UInt8>
    package var creationTime: Int64
    /// SHA-256 over all digests; see ``FixedIndexChecksum``.
    package var checksum: ChunkDigest
    /// Bytes of the image, 1 or more.
    package let size: UInt64
    package let chunkByteCount: Int

    /// Chunks of the image.
    package var entryCount: Int { Int((size - 1) / UInt64(chunkByteCount)) + 1 }
    /// The one length that the index file may have.
    package var fileByteCount: Int { Self.offset(ofEntry: entryCount) }

    /// Where in the file the digest of chunk `index` stands.
    package static func offset(ofEntry index: Int) -> Int { byteCount + index * entryByteCount }

    /// - Throws: ``FormatError`` where size or chunk size are out of bounds.
    package init(
        uuid: SIMD16<UInt8>, creationTime: Int64, size: UInt64, chunkByteCount: Int = serverChunkByteCount,
        checksum: ChunkDigest = .zero
    ) throws(FormatError) {
        try Self.check(size: size, chunkByteCount: UInt64(max(chunkByteCount, 0)))
        self.uuid = uuid
        self.creationTime = creationTime
        self.checksum = checksum
        self.size = size
        self.chunkByteCount = chunkByteCount
    }

    /// Reads 4096 bytes and leaves the reader at the first digest.
    ///
    /// - Throws: ``FormatError``: cut short, another magic, an image without
    ///   bytes or with more than ``maxEntryCount`` chunks, a chunk size that is
    ///   no power of two or above ``BlobLimits/maxChunkContent``.
    package init(from reader: inout ByteReader) throws(FormatError) {
        let start = reader.offset
        (uuid, creationTime, checksum) = try readCommonFields(&reader, magic: Self.magic)
        size = try reader.read()
        let chunkSize: UInt64 = try reader.read()
        try Self.check(size: size, chunkByteCount: chunkSize, offset: start + 64)
        chunkByteCount = Int(chunkSize)
        try reader.skip(Self.byteCount - 80)
    }

    private static func check(size: UInt64, chunkByteCount: UInt64, offset: Int = 64) throws(FormatError) {
        guard chunkByteCount > 0, chunkByteCount & (chunkByteCount - 1) == 0 else {
            throw .invalid("chunk size \(chunkByteCount) is not a power of two", offset: offset + 8)
        }
        guard chunkByteCount <= BlobLimits.maxChunkContent else {
            throw .tooLong(chunkByteCount, limit: BlobLimits.maxChunkContent, offset: offset + 8)
        }
        guard size > 0 else { throw .invalid("an image of no bytes has no index", offset: offset) }
        guard (size - 1) / chunkByteCount < UInt64(maxEntryCount) else {
            throw .tooLong(size, limit: maxEntryCount * Int(chunkByteCount), offset: offset)
        }
    }

    /// The 4096 bytes.
    package var encoded: [UInt8] {
        var bytes = encodedCommonFields(magic: Self.magic, uuid: uuid, creationTime: creationTime, checksum: checksum)
        bytes.appendLittleEndian(size)
        bytes.appendLittleEndian(UInt64(chunkByteCount))
        bytes += repeatElement(0, count: Self.byteCount - bytes.count)
        return bytes
    }
}

/// The first 4096 bytes of a `.didx` file: a stream cut where its content says so.
///
/// | Offset | Size | Field                                        |
/// |-------:|-----:|----------------------------------------------|
/// |      0 |    8 | magic                                        |
/// |      8 |   16 | uuid                                         |
/// |     24 |    8 | time of creation, Unix seconds               |
/// |     32 |   32 | checksum: SHA-256 of the entry table         |
/// |     64 | 4032 | zero when written, not looked at when read   |
///
/// Then 40 bytes for each chunk: a ``DynamicIndexEntry``.
package struct DynamicIndexHeader: Equatable, Sendable {
    package static let magic: UInt64 = 0xcdb3_ba19_a54e_911c
    package static let byteCount = IndexLayout.headerByteCount
    package static let entryByteCount = 40
    /// More entries are refused; at 64 KiB a chunk they are 16 TiB.
    package static let maxEntryCount = 1 << 28

    package var uuid: SIMD16<UInt8>
    package var creationTime: Int64
    /// SHA-256 over the entry table; see ``DynamicIndexChecksum``.
    package var checksum: ChunkDigest

    /// Where in the file entry `index` stands.
    package static func offset(ofEntry index: Int) -> Int { byteCount + index * entryByteCount }

    /// The entries of a file of that length.
    ///
    /// - Throws: ``FormatError``: shorter than a header, no whole number of entries, or too many.
    package static func entryCount(ofFileByteCount count: Int) throws(FormatError) -> Int {
        guard count >= byteCount else { throw .truncated(offset: 0, needed: byteCount, available: count) }
        let table = count - byteCount
        guard table.isMultiple(of: entryByteCount) else {
            throw .truncated(
                offset: count - table % entryByteCount, needed: entryByteCount, available: table % entryByteCount)
        }
        guard table / entryByteCount <= maxEntryCount else {
            throw .tooLong(UInt64(table), limit: maxEntryCount * entryByteCount, offset: byteCount)
        }
        return table / entryByteCount
    }

    package init(uuid: SIMD16<UInt8>, creationTime: Int64, checksum: ChunkDigest = .zero) {
        self.uuid = uuid
        self.creationTime = creationTime
        self.checksum = checksum
    }

    /// Reads 4096 bytes and leaves the reader at the first entry.
    ///
    /// - Throws: ``FormatError``: cut short, or another magic.
    package init(from reader: inout ByteReader) throws(FormatError) {
        (uuid, creationTime, checksum) = try readCommonFields(&reader, magic: Self.magic)
        try reader.skip(Self.byteCount - 64)
    }

    /// The 4096 bytes.
    package var encoded: [UInt8] {
        var bytes = encodedCommonFields(magic: Self.magic, uuid: uuid, creationTime: creationTime, checksum: checksum)
        bytes += repeatElement(0, count: Self.byteCount - bytes.count)
        return bytes
    }
}

private func readCommonFields(
    _ reader: inout ByteReader, magic: UInt64
) throws(FormatError) -> (uuid: SIMD16<UInt8>, creationTime: Int64, checksum: ChunkDigest) {
    let start = reader.offset
    guard reader.remaining >= IndexLayout.headerByteCount else {
        throw .truncated(offset: start, needed: IndexLayout.headerByteCount, available: reader.remaining)
    }
    let found: UInt64 = try reader.read()
    guard found == magic else { throw .unknownMagic(found, offset: start) }
    return (SIMD16(try reader.readBytes(16)), try reader.read(), try ChunkDigest(from: &reader))
}

private func encodedCommonFields(
    magic: UInt64, uuid: SIMD16<UInt8>, creationTime: Int64, checksum: ChunkDigest
) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(IndexLayout.headerByteCount)
    bytes.appendLittleEndian(magic)
    for index in 0..<16 { bytes.append(uuid[index]) }
    bytes.appendLittleEndian(creationTime)
    checksum.append(to: &bytes)
    return bytes
}

extension SIMD16<UInt8> {
    /// A random UUID (version 4) for an index header.
    package static func randomUUID(
        using generator: inout some RandomNumberGenerator
    ) -> SIMD16<UInt8> {
        var uuid = SIMD16<UInt8>.random(in: 0...255, using: &generator)
        uuid[6] = uuid[6] & 0x0f | 0x40
        uuid[8] = uuid[8] & 0x3f | 0x80
        return uuid
    }
}
