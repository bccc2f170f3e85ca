import CairnTestSupport
import Chunking
import Crypto
import Foundation
import Testing

/// Cuts that the original makes of inputs described in the fixtures' MANIFEST.
///
/// The inputs are 64 MiB long. The normal run looks at the first bytes of
/// each, with `CAIRN_SOAK=1` at all of them: debug builds are slow.
@Suite("The chunker's vectors")
struct ChunkerVectorTests {
    static let soak = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1"
    static let inputs = ["shactr", "xorshift", "mixed", "lines", "zero", "short-100", "short-16385"]

    struct Vector {
        var ends: [Int] = []
        var digests: [String] = []
        var length: Int { ends.last ?? 0 }
        /// The last piece ended with the data.
        var hasTail = false

        init(_ name: String, averageSize: Int) throws {
            let text = try Fixtures.text("pbs/chunker/\(name).avg-\(averageSize).txt")
            for line in text.split(separator: "\n") {
                let fields = line.split(separator: " ")
                ends.append(try #require(Int(fields[0])))
                digests.append(String(fields[1]))
                hasTail = fields.count > 2
            }
        }
    }

    static func input(_ name: String, _ count: Int) -> [UInt8] {
        switch name {
        case "lines": return GeneratedData.lines("vec", count)
        case "zero": return [UInt8](repeating: 0, count: count)
        case "xorshift":
            var state: UInt64 = 0x9e37_79b9_7f4a_7c15
            var result: [UInt8] = []
            result.reserveCapacity(count + 8)
            while result.count < count {
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                withUnsafeBytes(of: state.littleEndian) { result.append(contentsOf: $0) }
            }
            return Array(result.prefix(count))
        case "mixed":
            var result: [UInt8] = []
            var cell = 0
            while result.count < count {
                switch cell % 5 {
                case 0: result += GeneratedData.shactr("pbs-vec-mixed-\(cell)", 65536)
                case 1: result += GeneratedData.lines("cell\(cell)", 65536)
                case 2: result += [UInt8](repeating: 0, count: 65536)
                case 3: result += [UInt8](repeating: UInt8(cell % 256), count: 65536)
                default: for _ in 0..<4096 { result += Array("ABCDEFGHIJKLMNOP".utf8) }
                }
                cell += 1
            }
            return Array(result.prefix(count))
        default: return GeneratedData.shactr("pbs-vec-A", count)
        }
    }

    func check(_ name: String, averageSize: Int, prefix: Int) throws {
        let vector = try Vector(name, averageSize: averageSize)
        let count = Self.soak ? vector.length : min(prefix, vector.length)
        let input = Self.input(name, count)
        let chunker = try #require(Chunker(averageSize: averageSize))
        let expected = vector.ends.dropLast(vector.hasTail ? 1 : 0).filter { $0 <= count }
        for slice in [777, 128 << 10, 1_000_003] where Self.soak || slice != 777 || averageSize == 65536 {
            #expect(cuts(of: input, by: chunker, slice: slice) == expected, "\(slice) bytes a call")
        }
        var start = 0
        for (end, digest) in zip(vector.ends, vector.digests).prefix(Self.soak ? .max : 4) where end <= count {
            let computed = SHA256.hash(data: input[start..<end]).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            #expect(computed.joined() == digest)
            start = end
        }
    }

    @Test("are met at 64 KiB", arguments: inputs)
    func smallAverage(_ name: String) throws { try check(name, averageSize: 65536, prefix: 1 << 20) }

    @Test("are met at 4 MiB", arguments: inputs)
    func largeAverage(_ name: String) throws {
        try check(name, averageSize: 4 << 20, prefix: name == "zero" || name == "mixed" ? 1 << 20 : 4 << 20)
    }
}
