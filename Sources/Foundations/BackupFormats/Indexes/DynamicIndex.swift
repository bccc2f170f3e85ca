/// A whole `.didx` file in memory: which chunk holds which part of a stream.
package struct DynamicIndex: Sendable {
    package let header: DynamicIndexHeader
    /// Entries, 0 or more; servers refuse to close an index without any.
    package let count: Int
    /// Bytes of the stream.
    package let size: UInt64
    /// The checksum of the entries as they are; the manifest has the one that they should have.
    package let computedChecksum: ChunkDigest
    private let file: [UInt8]

    /// Checks header, length and the order of all entries; the stored checksum is not compared.
    ///
    /// - Throws: As ``DynamicIndexHeader/init(from:)``, ``DynamicIndexHeader/entryCount(ofFileByteCount:)``
    ///   and ``DynamicIndexChecksum/add(_:)``.
    package init(parsing file: [UInt8]) throws(FormatError) {
        var reader = ByteReader(file.span)
        header = try DynamicIndexHeader(from: &reader)
        count = try DynamicIndexHeader.entryCount(ofFileByteCount: file.count)
        var checksum = DynamicIndexChecksum()
        try checksum.add(table: Array(file[DynamicIndexHeader.byteCount...]))
        computedChecksum = checksum.value
        size = checksum.size
        self.file = file
    }

    /// Entry `index`, which must be below ``count``.
    package func entry(at index: Int) -> DynamicIndexEntry {
        precondition(index >= 0 && index < count, "no such entry in this index")
        let offset = DynamicIndexHeader.offset(ofEntry: index)
        return DynamicIndexEntry(end: end(at: index), digest: ChunkDigest(loadedFrom: file, at: offset + 8))
    }

    package func digest(at index: Int) -> ChunkDigest { entry(at: index).digest }

    /// Where chunk `index` lies in the stream.
    package func range(at index: Int) -> Range<UInt64> {
        precondition(index >= 0 && index < count, "no such entry in this index")
        return (index == 0 ? 0 : end(at: index - 1))..<end(at: index)
    }

    /// The entry that holds the byte at `offset` of the stream; nil behind the end.
    package func entry(containing offset: UInt64) -> Int? {
        guard offset < size else { return nil }
        var low = 0
        var high = count - 1
        while low < high {
            let middle = (low + high) / 2
            if end(at: middle) > offset { high = middle } else { low = middle + 1 }
        }
        return low
    }

    private func end(at index: Int) -> UInt64 {
        let offset = DynamicIndexHeader.offset(ofEntry: index)
        return file.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    }

    /// A whole index file.
    ///
    /// - Throws: As ``DynamicIndexChecksum/add(_:)``.
    package static func encode(
        _ entries: [DynamicIndexEntry], uuid: SIMD16<UInt8>, creationTime: Int64
    ) throws(FormatError) -> [UInt8] {
        var table: [UInt8] = []
        table.reserveCapacity(entries.count * DynamicIndexEntry.byteCount)
        for entry in entries { entry.append(to: &table) }
        var checksum = DynamicIndexChecksum()
        try checksum.add(table: table)
        return DynamicIndexHeader(uuid: uuid, creationTime: creationTime, checksum: checksum.value).encoded + table
    }
}
