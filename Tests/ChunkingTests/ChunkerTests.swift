import CairnTestSupport
import Chunking
import Crypto
import Testing

/// Cuts `input`, handed over in pieces of `slice` bytes, and returns the ends of the chunks that a cut ended.
func cuts(of input: [UInt8], by cutter: any Cutter, slice: Int = 1 << 20) -> [Int] {
    var cutter = cutter
    var ends: [Int] = []
    input.withUnsafeBytes { bytes in
        var offset = 0
        while offset < bytes.count {
            let piece = UnsafeRawBufferPointer(rebasing: bytes[offset..<min(offset + slice, bytes.count)])
            if let cut = cutter.nextCut(in: piece) {
                offset += cut
                ends.append(offset)
            } else {
                offset += piece.count
            }
        }
    }
    return ends
}

@Suite("A chunker")
struct ChunkerTests {
    /// The rule as the specification words it, byte by byte, with a table of words read from the chunker's own answers.
    static func simpleCuts(of input: [UInt8], averageSize: Int, table: [UInt32]) -> [Int] {
        let mask = UInt32(2 * averageSize - 1)
        var ends: [Int] = []
        var start = 0
        var hash: UInt32 = 0
        for (index, byte) in input.enumerated() {
            let length = index - start + 1
            hash = (hash << 1 | hash >> 31) ^ table[Int(byte)]
            if length > 64 { hash ^= table[Int(input[index - 64])] }
            guard length >= averageSize * 4 || (length >= averageSize / 4 && hash & mask >= mask - 2) else { continue }
            ends.append(index + 1)
            start = index + 1
            hash = 0
        }
        return ends
    }

    @Test("has averages of 64 KiB to 4 MiB, powers of two")
    func averages() {
        #expect(Chunker(averageSize: 65536)?.minimumSize == 16384)
        #expect(Chunker(averageSize: 4 << 20)?.maximumSize == 16 << 20)
        for refused in [0, -65536, 32768, 65537, 96 << 10, 8 << 20, Int.min, Int.max] {
            #expect(Chunker(averageSize: refused) == nil)
        }
    }

    @Test("cuts nothing out of nothing")
    func empty() throws {
        var chunker = try #require(Chunker(averageSize: 65536))
        #expect(chunker.nextCut(in: UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
        #expect(chunker.nextCut(in: []) == nil)
    }

    @Test("cuts counted words where the specification does")
    func countedWords() throws {
        var input: [UInt8] = []
        for word in UInt32(0)..<262_144 { withUnsafeBytes(of: word.littleEndian) { input.append(contentsOf: $0) } }
        let chunker = try #require(Chunker(averageSize: 65536))
        #expect(cuts(of: input, by: chunker) == [143_377, 405_521, 667_665, 929_809])
    }

    @Test(
        "does not care how the stream is sliced", arguments: [1, 63, 64, 65, 777, 16383, 16384, 128 << 10, 1_000_003])
    func slicing(_ slice: Int) throws {
        let input = GeneratedData.shactr("slicing", 400_000)
        let chunker = try #require(Chunker(averageSize: 65536))
        #expect(cuts(of: input, by: chunker, slice: slice) == cuts(of: input, by: chunker, slice: input.count))
    }

    @Test("finds the cuts of the plain loop in random slices", arguments: [1, 2, 3] as [UInt64])
    func randomSlices(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        // Few different bytes and repeated stretches, so that unusual hashes occur as well.
        var input: [UInt8] = []
        while input.count < 600_000 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: input += random.bytes(Int.random(in: 1...90_000, using: &random))
            case 1: input += [UInt8](repeating: UInt8.random(in: 0...255, using: &random), count: 30_000)
            default: input += input.suffix(20_000)
            }
        }
        let expected = Self.simpleCuts(of: input, averageSize: 65536, table: try Self.table())
        var chunker = try #require(Chunker(averageSize: 65536))
        var ends: [Int] = []
        var offset = 0
        while offset < input.count {
            let piece = input[offset..<min(input.count, offset + Int.random(in: 1...40_000, using: &random))]
            if let cut = chunker.nextCut(in: piece) {
                offset += cut
                ends.append(offset)
            } else {
                offset += piece.count
            }
        }
        #expect(ends == expected, "seed \(seed)")
    }

    /// The table of the format, read from its public page.
    static func table() throws -> [UInt32] {
        let text = try Fixtures.text("pbs/chunker/table.txt")
        let words = text.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0, radix: 16) }
        var bytes: [UInt8] = []
        for word in words { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }
        let digest = SHA256.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(digest == "5b52080d38287da9d2e278466e3e0db7ec98e5e8b226f50612a56fa012b1f660")
        return words
    }
}

@Suite("A fixed cutter")
struct FixedCutterTests {
    @Test("cuts after each full size, whatever the slices", arguments: [1, 3, 10, 11, 1000])
    func cutsEvenly(_ slice: Int) {
        let input = [UInt8](repeating: 7, count: 35)
        #expect(cuts(of: input, by: FixedCutter(size: 10), slice: slice) == [10, 20, 30])
    }
}
