import BackupFormats
import CairnTestSupport
import Testing

/// Feeds `parse` with damaged copies of `input`: it must end with a result or a ``FormatError``, nothing else.
///
/// - Each prefix (of the last `prefixes` ones and the first) is a truncation; all prefixes where `mustFailWhenCut`.
/// - Flips bits, overwrites bytes and writes huge little-endian lengths at places drawn from `seed`.
func expectOnlyFormatErrors(
    from input: [UInt8], seed: UInt64 = .random(in: 0...UInt64.max), rounds: Int = 300,
    cuts: some Sequence<Int>, sourceLocation: SourceLocation = #_sourceLocation,
    parse: ([UInt8]) throws -> Void
) {
    func attempt(_ bytes: [UInt8], _ what: String) {
        do {
            try parse(bytes)
        } catch is FormatError {
            // The only error that a parser throws.
        } catch {
            Issue.record("\(what), seed \(seed): \(error)", sourceLocation: sourceLocation)
        }
    }
    for cut in cuts where cut < input.count {
        #expect(throws: FormatError.self, "cut at \(cut)", sourceLocation: sourceLocation) {
            try parse(Array(input.prefix(cut)))
        }
    }
    var random = SeededRandom(seed: seed)
    for round in 0..<rounds {
        var bytes = input
        for _ in 0...Int.random(in: 0..<3, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
            default:
                for index in place..<min(place + 8, bytes.count) { bytes[index] = index == place + 7 ? 0x7f : 0xff }
            }
        }
        attempt(bytes, "round \(round)")
    }
}

extension ChunkDigest {
    /// The digest of a short text.
    static func of(_ text: String) -> ChunkDigest { ChunkDigest(hashing: Array(text.utf8)) }
}

/// Bytes written as hexadecimal digits, blanks allowed.
func hex(_ text: String) -> [UInt8] { Hex.decode(text.filter { $0 != " " }) ?? [] }
