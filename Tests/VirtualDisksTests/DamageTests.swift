import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

/// At normal count 60 of each; with `CAIRN_SOAK=1` a thousand.
@Suite("Damaged input")
struct DamageTests {
    static let count = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1" ? 1000 : 60

    /// Changes bytes at `places`, mostly to values that lie at limits.
    static func damage(_ bytes: inout [UInt8], in range: Range<Int>, _ random: inout SeededRandom) {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: range, using: &random)
            let value: UInt8 =
                [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)]
                .randomElement(using: &random) ?? 0
            let length = [1, 2, 4, 8].randomElement(using: &random) ?? 1
            for index in place..<min(range.upperBound, place + length) { bytes[index] = value }
        }
    }

    @Test("in a VHD is read as something or refused, with checksums that are right or not")
    func vhd() async throws {
        let seed = UInt64.random(in: 0..<100_000)
        var random = SeededRandom(seed: seed)
        var vhd = HandMadeVHD(size: (3 << 20) + 512)
        vhd.type = 4
        vhd.locator = 1536
        vhd.tableOffset = 2048
        vhd.blocks = [.init(index: 1, bytes: Sample.block(seed: 1)), .init(index: 0, bytes: Sample.block(seed: 2))]
        let whole = vhd.encode()
        for round in 0..<Self.count {
            var bytes = whole
            Self.damage(&bytes, in: 0..<2560, &random)
            if Bool.random(using: &random) {
                var footer = Array(bytes[..<512])
                footer.replaceSubrange(64..<68, with: [0, 0, 0, 0])
                var header = Array(bytes[512..<1536])
                header.replaceSubrange(36..<40, with: [0, 0, 0, 0])
                bytes.replaceSubrange(0..<512, with: summed(footer, at: 64))
                bytes.replaceSubrange(512..<1536, with: summed(header, at: 36))
                bytes.replaceSubrange(bytes.count - 512..<bytes.count, with: bytes[..<512])
            }
            let comment: Comment = "seed \(seed), round \(round)"
            await expectNothingOrFailure(comment) { _ = try await VHDReaderTests.read(bytes) }
            for strictness in [VHDFile.Strictness.strict, .lenient] {
                await expectNothingOrFailure(comment) {
                    let file = try await VHDFile.open(MemoryFile(bytes), name: "a.vhd", strictness)
                    for index in await file.presentBlocks { _ = try? await file.block(index) }
                    // A footer or table that asks for more is not what is to be seen here.
                    guard await file.table.entriesInFileOrder.allSatisfy({ $0.offset < 64 << 20 }) else { return }
                    guard await file.size < 1 << 30 else { return }
                    try await file.write(VHDBlock(index: 0, bytes: Sample.block(seed: 3)))
                    try await file.grow(to: 600 << 20)
                    try await file.finish()
                }
            }
        }
    }

    @Test("in an XVA is read as something or refused, with checksums that are right or not")
    func xva() async throws {
        let seed = UInt64.random(in: 0..<100_000)
        var random = SeededRandom(seed: seed)
        var xva = HandMadeXVA()
        for index in 0..<3 { xva.add("Ref:4", index, random.bytes(700)) }
        let whole = xva.encode()
        for round in 0..<Self.count {
            var bytes = whole
            Self.damage(&bytes, in: 0..<bytes.count, &random)
            let block = Int.random(in: 0..<bytes.count / 512, using: &random) * 512
            Self.damage(&bytes, in: block..<block + 512, &random)
            if Bool.random(using: &random) {
                for index in 148..<156 { bytes[block + index] = UInt8(ascii: " ") }
                let sum = bytes[block..<block + 512].reduce(0) { $0 + Int($1) }
                let digits = String(sum, radix: 8)
                let field = Array((String(repeating: "0", count: 6 - digits.count) + digits + "\u{0} ").utf8)
                bytes.replaceSubrange(block + 148..<block + 156, with: field)
            }
            let comment: Comment = "seed \(seed), round \(round)"
            let damaged = bytes
            await expectNothingOrFailure(comment) {
                let reader = try await XVAReader.open(BytesSource(damaged))
                while try await reader.nextPiece() != nil {}
            }
            await expectNothingOrFailure(comment) { try XVACheckTests.check(damaged) }
        }
    }

    @Test("in the description of a machine is read as something or refused")
    func description() {
        let seed = UInt64.random(in: 0..<100_000)
        var random = SeededRandom(seed: seed)
        let whole = Array(HandMadeXVA.description.utf8)
        for round in 0..<Self.count {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                let other = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] =
                    Bool.random(using: &random)
                    ? Array("<>/&;#\u{0}9".utf8).randomElement(using: &random) ?? 0 : bytes[other]
            }
            do throws(FormatError) {
                _ = try XVADescription(parsing: bytes)
            } catch {
                #expect(!"\(error)".isEmpty, "seed \(seed), round \(round)")
            }
        }
    }

    /// Whatever happens is a failure with a kind: no crash, no other error.
    private func expectNothingOrFailure(_ comment: Comment, _ body: () async throws -> Void) async {
        do {
            try await body()
        } catch {
            #expect(error is BackupFailure, comment)
        }
    }
}
