import CairnTestSupport
import PeerSyncProtocol

/// Streams of envelopes, good and damaged, in pieces of any length: the reader must find what a look at the whole finds.
struct EnvelopeFuzzer: Fuzzer {
    private static let limits = [0, 5, 100, 300, EnvelopeReader.limitOfStrangers]
    private let corpus: [[UInt8]]
    private let ends: [[UInt8]]
    private var random: SeededRandom

    init(random: SeededRandom) throws {
        self.random = random
        let samples = try Vectors.load("connect_envelopes").list("samples").map { try $0.hex("hex") }
        corpus = try FuzzCorpus.envelopes() + samples.filter { $0.count < 700 }
        ends =
            samples.filter { $0.count < 700 }.map { Array($0.dropFirst(5)) }
            + StreamEnd.Code.allCases.map { StreamEnd(code: $0, message: "m\u{e9}\"\\").encoded }
    }

    mutating func step() throws -> Int {
        var stream: [UInt8] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) { stream += corpus.randomElement(using: &random) ?? [] }
        if random.chance(2, in: 3) {
            stream = Mutation.of(stream, with: corpus.randomElement(using: &random) ?? [], &random)
        }
        let limit = Self.limits.randomElement(using: &random) ?? 0
        let expected = Self.envelopes(in: stream, limit: limit)
        let found = read(stream, limit: limit)
        guard found.envelopes == expected.envelopes, found.end == expected.end else {
            throw FuzzFinding(what: "with limit \(limit): \(found), not \(expected)", input: stream)
        }
        guard random.chance(1, in: 4) else { return 1 }
        let end = Mutation.of(ends.randomElement(using: &random) ?? [], with: ends[0], &random)
        if let parsed = try? StreamEnd(parsing: end), try StreamEnd(parsing: parsed.encoded) != parsed {
            throw FuzzFinding(what: "an end that does not survive writing: \(parsed)", input: end)
        }
        return 2
    }

    private enum End { case ended, tooLarge, malformed }

    private mutating func read(_ stream: [UInt8], limit: Int) -> (envelopes: [Envelope], end: End) {
        var reader = EnvelopeReader(limit: limit)
        var found: [Envelope] = []
        let step = random.chance(1, in: 16) ? 1 : Int.random(in: 1...max(1, stream.count), using: &random)
        do throws(PeerSyncFailure) {
            for start in stride(from: 0, to: stream.count, by: step) {
                reader.append(stream[start..<min(stream.count, start + step)])
                while let envelope = try reader.next() { found.append(envelope) }
            }
            try reader.finish()
            return (found, .ended)
        } catch {
            return (found, error.kind == .tooLarge ? .tooLarge : .malformed)
        }
    }

    private static func envelopes(in stream: [UInt8], limit: Int) -> (envelopes: [Envelope], end: End) {
        var rest = stream[...]
        var found: [Envelope] = []
        while rest.count >= 5 {
            let flags = rest.removeFirst()
            var length = 0
            for _ in 0..<4 { length = length << 8 | Int(rest.removeFirst()) }
            if flags > 3 { return (found, .malformed) }
            if length > limit { return (found, .tooLarge) }
            if rest.count < length { return (found, .malformed) }
            found.append(
                Envelope(payload: Array(rest.prefix(length)), isCompressed: flags & 1 != 0, isEnd: flags & 2 != 0))
            rest = rest.dropFirst(length)
        }
        return (found, rest.isEmpty ? .ended : .malformed)
    }
}
