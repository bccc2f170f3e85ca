/// Cuts a stream where its content says so, so that equal content is cut
/// equally wherever it stands.
///
/// A 32-bit cyclic-polynomial hash runs over the last 64 bytes of the current
/// chunk. The chunk ends at the first length of at least ``minimumSize`` where
/// the low bits of the hash are one of the three largest values, or at
/// ``maximumSize``. Source: formats specification, sections 6.1 to 6.4.
///
/// The hash depends on 64 bytes only, which is used twice: bytes before
/// `minimumSize - 64` are not looked at, and four places of a piece are scanned
/// at once (see ``RollingHashScan``).
package struct Chunker: Cutter {
    /// The average sizes that are defined: powers of two from 64 KiB to 4 MiB.
    package static let averageSizes = 64 << 10...4 << 20
    /// The default for archives.
    package static let defaultAverageSize = 4 << 20
    /// What catalogs are cut with.
    package static let catalogAverageSize = 512 << 10

    package static let windowSize = 64

    package let averageSize: Int
    package var minimumSize: Int { averageSize / 4 }
    package var maximumSize: Int { averageSize * 4 }

    private let scan: RollingHashScan
    /// Bytes of the current chunk so far.
    private var length = 0
    private var hash: UInt32 = 0
    /// The last bytes that were hashed; the one at position p of the chunk lies at p mod 64.
    private var window = SIMD64<UInt8>()

    /// Fails where `averageSize` is not one of ``averageSizes``.
    package init?(averageSize: Int) {
        guard Self.averageSizes.contains(averageSize), averageSize.nonzeroBitCount == 1 else { return nil }
        self.averageSize = averageSize
        scan = RollingHashScan(limit: UInt32(2 * averageSize))
    }

    package mutating func nextCut(in bytes: UnsafeRawBufferPointer) -> Int? {
        scan.table.withUnsafeBufferPointer { table in
            // Safe: neither pointer is used without a base address, the table is not empty.
            nextCut(in: bytes, table: table.baseAddress!)
        }
    }

    private mutating func nextCut(in bytes: UnsafeRawBufferPointer, table: UnsafePointer<UInt32>) -> Int? {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return nil }
        let input = base.assumingMemoryBound(to: UInt8.self)
        var offset = 0

        // What lies before the first window is skipped.
        let hashStart = minimumSize - Self.windowSize
        if length < hashStart {
            offset = min(hashStart - length, bytes.count)
            length += offset
        }

        // The first window of the chunk: bytes come in, none goes out.
        while length < minimumSize, offset < bytes.count {
            let byte = input[offset]
            window[length & 63] = byte
            hash = (hash << 1 | hash >> 31) ^ table[Int(byte)]
            offset += 1
            length += 1
            if length == minimumSize, scan.accepts(hash) { return end(at: offset) }
        }

        // Bytes whose partner, 64 places before, was in an earlier piece.
        let last = min(bytes.count, offset + maximumSize - length)
        while offset < min(last, Self.windowSize) {
            let byte = input[offset]
            hash = (hash << 1 | hash >> 31) ^ table[Int(byte)] ^ table[Int(window[length & 63])]
            window[length & 63] = byte
            offset += 1
            length += 1
            if scan.accepts(hash) { return end(at: offset) }
        }

        // The rest has its partners in this piece.
        if offset < last {
            if let cut = scan.firstAccepted(from: offset, to: last, of: input, table: table, hash: &hash) {
                return end(at: cut)
            }
            length += last - offset
            for place in max(last - Self.windowSize, offset)..<last {
                window[(length - (last - place)) & 63] = input[place]
            }
        }
        if length >= maximumSize { return end(at: last) }
        return nil
    }

    private mutating func end(at offset: Int) -> Int {
        length = 0
        hash = 0
        return offset
    }
}
