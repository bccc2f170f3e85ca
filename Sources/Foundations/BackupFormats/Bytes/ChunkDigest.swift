package import Crypto

/// The SHA-256 that names a chunk, in indexes and in the chunk store.
///
/// It is taken over the plain content; for an encrypted backup, over the
/// content and the identity of the key, so that two keys never share a chunk.
/// (Four words, because `InlineArray` is not `Hashable`; they were read
/// little-endian, so the bytes in memory are the bytes of the digest. They are
/// no vector: that is aligned to 32 bytes, and a value that asks for more than
/// 16 and lives across an `await` overruns the frame that Swift 6.3 gives it.)
package struct ChunkDigest: Hashable, Sendable {
    package static let byteCount = 32
    package static let zero = ChunkDigest(words: Words(0, 0, 0, 0))

    private let words: Words

    private init(words: Words) {
        self.words = words
    }

    private struct Words: Hashable, Sendable {
        let first: UInt64
        let second: UInt64
        let third: UInt64
        let fourth: UInt64

        @inline(__always)
        init(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) {
            self.first = first
            self.second = second
            self.third = third
            self.fourth = fourth
        }

        @inline(__always)
        subscript(_ index: Int) -> UInt64 {
            switch index {
            case 0: first
            case 1: second
            case 2: third
            default: fourth
            }
        }
    }

    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    package init(from reader: inout ByteReader) throws(FormatError) {
        words = Words(try reader.read(), try reader.read(), try reader.read(), try reader.read())
    }

    /// From exactly 32 bytes; nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self = Array(bytes).withUnsafeBytes { ChunkDigest(loading: $0) }
    }

    /// From the first 32 bytes of a buffer; there must be as many.
    package init(loading bytes: UnsafeRawBufferPointer) {
        words = Words(
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)))
    }

    /// From 64 lowercase hexadecimal digits; nil for anything else (upper case included).
    package init?(parsing text: some StringProtocol) {
        guard text.utf8.count == 64, let bytes = Hex.decode(text) else { return nil }
        self.init(bytes: bytes)
    }

    package init(_ digest: SHA256.Digest) {
        self = digest.withUnsafeBytes { ChunkDigest(bytes: $0)! }
    }

    /// The plain digest of `content`.
    package init(hashing content: some Sequence<UInt8>) {
        let array = Array(content)
        self.init(SHA256.hash(data: array))
    }

    /// The 32 bytes, in order.
    package var bytes: [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(Self.byteCount)
        append(to: &result)
        return result
    }

    /// Appends the 32 bytes.
    package func append(to output: inout [UInt8]) {
        for index in 0..<4 { output.appendLittleEndian(words[index]) }
    }

    /// The first 16 bytes, as two little-endian words.
    package var firstWords: SIMD2<UInt64> { SIMD2(words.first, words.second) }

    /// The first two bytes as a number: the prefix folder of the chunk store, and its lock.
    package var prefix: UInt16 {
        UInt16(truncatingIfNeeded: words[0] & 0xff) << 8 | UInt16(truncatingIfNeeded: words[0] >> 8 & 0xff)
    }
}

extension ChunkDigest: CustomStringConvertible {
    /// 64 lowercase hexadecimal digits, as in file names and log lines.
    package var description: String { Hex.encode(bytes) }
}

extension ChunkDigest: Comparable {
    /// In byte order.
    package static func < (left: ChunkDigest, right: ChunkDigest) -> Bool {
        for index in 0..<4 where left.words[index] != right.words[index] {
            return left.words[index].byteSwapped < right.words[index].byteSwapped
        }
        return false
    }
}
