/// A whole `.fidx` file in memory: which chunk holds which part of an image.
package struct FixedIndex: Sendable {
    package let header: FixedIndexHeader
    private let file: [UInt8]

    /// Checks header and length; the stored checksum is not compared, see ``computedChecksum``.
    ///
    /// - Throws: As ``FixedIndexHeader/init(from:)``, ``FormatError/truncated(offset:needed:available:)``
    ///   where the file is shorter than the image needs, ``FormatError/invalid(_:offset:)`` where it is longer.
    package init(parsing file: [UInt8]) throws(FormatError) {
        var reader = ByteReader(file.span)
        header = try FixedIndexHeader(from: &reader)
        let table = header.fileByteCount - FixedIndexHeader.byteCount
        guard reader.remaining >= table else {
            throw .truncated(offset: FixedIndexHeader.byteCount, needed: table, available: reader.remaining)
        }
        guard reader.remaining == table else {
            throw .invalid("bytes behind the last digest of a fixed index", offset: header.fileByteCount)
        }
        self.file = file
    }

    /// Chunks of the image, 1 or more.
    package var count: Int { header.entryCount }
    /// Bytes of the image.
    package var size: UInt64 { header.size }

    /// The digest of chunk `index`, which must be below ``count``.
    package func digest(at index: Int) -> ChunkDigest {
        precondition(index >= 0 && index < count, "no such entry in this index")
        return ChunkDigest(loadedFrom: file, at: FixedIndexHeader.offset(ofEntry: index))
    }

    /// Where chunk `index` lies in the image; only the last one may be shorter than the others.
    package func range(at index: Int) -> Range<UInt64> {
        precondition(index >= 0 && index < count, "no such entry in this index")
        let start = UInt64(index) * UInt64(header.chunkByteCount)
        return start..<min(start + UInt64(header.chunkByteCount), size)
    }

    /// The chunk that holds the byte at `offset` of the image; nil behind the end.
    package func entry(containing offset: UInt64) -> Int? {
        offset < size ? Int(offset / UInt64(header.chunkByteCount)) : nil
    }

    /// The checksum of the digests as they are; the manifest has the one that they should have.
    package var computedChecksum: ChunkDigest {
        ChunkDigest(hashing: file[FixedIndexHeader.byteCount...])
    }

    /// A whole index file.
    ///
    /// - Throws: ``FormatError`` where `digests` has not one digest for each chunk, or a size is out of bounds.
    package static func encode(
        _ digests: [ChunkDigest], uuid: SIMD16<UInt8>, creationTime: Int64, size: UInt64,
        chunkByteCount: Int = FixedIndexHeader.serverChunkByteCount
    ) throws(FormatError) -> [UInt8] {
        var header = try FixedIndexHeader(
            uuid: uuid, creationTime: creationTime, size: size, chunkByteCount: chunkByteCount)
        guard digests.count == header.entryCount else {
            throw .invalid(
                "\(digests.count) digests for \(header.entryCount) chunks", offset: FixedIndexHeader.byteCount)
        }
        var checksum = FixedIndexChecksum()
        for digest in digests { checksum.add(digest) }
        header.checksum = checksum.value
        var file = header.encoded
        file.reserveCapacity(header.fileByteCount)
        for digest in digests { digest.append(to: &file) }
        return file
    }
}

extension ChunkDigest {
    /// The 32 bytes at `offset`, which the caller knows to be there.
    init(loadedFrom bytes: [UInt8], at offset: Int) {
        var reader = ByteReader(bytes.span.extracting(offset..<offset + Self.byteCount))
        guard let digest = try? ChunkDigest(from: &reader) else {
            preconditionFailure("32 bytes always hold a digest")
        }
        self = digest
    }
}
