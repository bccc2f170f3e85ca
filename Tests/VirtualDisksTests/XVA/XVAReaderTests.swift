import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@Suite("An XVA that a host sends")
struct XVAReaderTests {
    /// Pieces 0, 2 and 4 of a disk of 5 MiB, and the only one of a disk of 1500 bytes.
    static func sample(_ checksum: HandMadeXVA.Checksum = .xxhash) -> (xva: HandMadeXVA, pieces: [XVAPiece]) {
        let block = Sample.block(seed: 9)
        let pieces = [
            XVAPiece(disk: "Ref:4", index: 0, bytes: Array(block[..<(1 << 20)])),
            XVAPiece(disk: "Ref:4", index: 2, bytes: Array(block[1000..<1000 + (1 << 20)])),
            XVAPiece(disk: "Ref:4", index: 4, bytes: Array(block[2000..<2000 + (1 << 20)])),
            XVAPiece(disk: "Ref:5", index: 0, bytes: Array(block[..<1500])),
        ]
        var xva = HandMadeXVA()
        for piece in pieces { xva.add(piece.disk, piece.index, piece.bytes, checksum) }
        return (xva, pieces)
    }

    static func read(_ source: any ByteSource) async throws -> [XVAPiece] {
        let reader = try await XVAReader.open(source, name: "machine web1")
        #expect(isSame(reader.description, Array(HandMadeXVA.description.utf8)))
        var pieces: [XVAPiece] = []
        while let piece = try await reader.nextPiece() { pieces.append(piece) }
        return pieces
    }

    static func isSamePieces(_ left: [XVAPiece], _ right: [XVAPiece]) -> Bool {
        left.count == right.count
            && zip(left, right).allSatisfy { $0.disk == $1.disk && $0.index == $1.index && isSame($0.bytes, $1.bytes) }
    }

    static func failure(_ bytes: [UInt8]) async throws -> BackupFailure {
        try await #require(throws: BackupFailure.self) { try await read(BytesSource(bytes)) }
    }

    @Test("gives its description and its pieces, with checksums of either kind", arguments: [true, false])
    func pieces(isNew: Bool) async throws {
        let (xva, pieces) = Self.sample(isNew ? .xxhash : .sha1)
        #expect(Self.isSamePieces(try await Self.read(BytesSource(xva.encode())), pieces))
    }

    @Test("is the same however the network cuts it", arguments: [1, 2] as [UInt64])
    func slices(seed: UInt64) async throws {
        let (xva, pieces) = Self.sample()
        for longest in [600, 40_000, 2 << 20] {
            let source = SlicedSource(xva.encode(), longest: longest, seed: seed)
            #expect(Self.isSamePieces(try await Self.read(source), pieces), "seed \(seed)")
        }
    }

    @Test("may hold entries that nobody knows, empty pieces, and end with more zeros than it must")
    func tolerated() async throws {
        var (xva, pieces) = Self.sample()
        xva.entries.insert(.init(name: "notes.txt", content: Array("hello".utf8)), at: 1)
        xva.entries.insert(.init(name: "Ref:4/", content: []), at: 2)
        xva.add("Ref:5", 1, [])
        xva.end = [UInt8](repeating: 0, count: 10240)
        #expect(Self.isSamePieces(try await Self.read(BytesSource(xva.encode())), pieces))
    }

    @Test("is incomplete wherever it is cut")
    func cut() async throws {
        let bytes = Self.sample().xva.encode()
        var random = SeededRandom(seed: 8)
        var lengths = [0, 1, 511, 512, 513, bytes.count - 1, bytes.count - 512, bytes.count - 1024, bytes.count - 1536]
        lengths += (0..<8).map { _ in Int.random(in: 0..<bytes.count, using: &random) }
        for length in lengths {
            #expect(try await Self.failure(Array(bytes[..<length])).kind == .unavailable, "\(length)")
            var check = XVACheck()
            check.add(Array(bytes[..<length]))
            #expect(throws: BackupFailure.self, "\(length)") { try check.finish() }
        }
    }

    @Test("is refused where a piece has no checksum, or a wrong one")
    func checksums() async throws {
        for checksum in [HandMadeXVA.Checksum.missing, .wrong] {
            for position in 0..<3 {
                var xva = HandMadeXVA()
                for index in 0..<3 { xva.add("Ref:4", index, [1, 2, 3], index == position ? checksum : .xxhash) }
                #expect(try await Self.failure(xva.encode()).kind == .corruptData)
            }
        }
        var (xva, _) = Self.sample()
        xva.entries[3].content[77] ^= 1
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
    }

    @Test(
        "is refused with pieces that go back, disks that come again, checksums without piece, pieces that are too large"
    )
    func order() async throws {
        var back = HandMadeXVA()
        back.add("Ref:4", 2, [1])
        back.add("Ref:4", 1, [1])
        var twice = HandMadeXVA()
        twice.add("Ref:4", 1, [1])
        twice.add("Ref:4", 1, [1])
        var again = HandMadeXVA()
        for disk in ["Ref:4", "Ref:5", "Ref:4"] { again.add(disk, again.entries.count, [1]) }
        var alone = HandMadeXVA()
        alone.entries.append(.init(name: "Ref:4/00000000.xxhash", content: Array("0123456789ABCDEF".utf8)))
        var large = HandMadeXVA()
        large.add("Ref:4", 0, [UInt8](repeating: 0, count: (1 << 20) + 1))
        for xva in [back, twice, again, alone, large] {
            #expect(try await Self.failure(xva.encode()).kind == .corruptData)
        }
    }

    @Test("is refused where it does not begin with its description")
    func noDescription() async throws {
        var xva = Self.sample().xva
        xva.entries.removeFirst()
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
        #expect(try await Self.failure([UInt8](repeating: 0, count: 10240)).kind == .corruptData)
        xva.entries.insert(.init(name: "ova.xml", content: [UInt8](repeating: 32, count: (16 << 20) + 1)), at: 0)
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
    }

    @Test("is refused with anything behind its end, or with an end of half the zeros")
    func afterEnd() async throws {
        var xva = Self.sample().xva
        xva.end = [UInt8](repeating: 0, count: 1024) + [7]
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
        xva.end = [UInt8](repeating: 0, count: 1024 + 100)
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
        xva.end = [UInt8](repeating: 0, count: 512) + HandMadeXVA.header("x", 0) + [UInt8](repeating: 0, count: 1024)
        #expect(try await Self.failure(xva.encode()).kind == .corruptData)
    }

    @Test("is refused with a broken header")
    func header() async throws {
        let bytes = Self.sample().xva.encode()
        let second = 512 + (HandMadeXVA.description.utf8.count + 511) / 512 * 512
        for offset in [0, 50, 124, 148, second, second + 124, second + 300] {
            var broken = bytes
            broken[offset] ^= 0x21
            #expect(try await Self.failure(broken).kind == .corruptData, "\(offset)")
        }
    }

    @Test("is refused as what it is where it is compressed or an HTTP response")
    func compressed() async throws {
        let filler = [UInt8](repeating: 1, count: 2000)
        #expect(try await Self.failure([0x1f, 0x8b, 8, 0] + filler).kind == .unsupported)
        #expect(try await Self.failure([0x28, 0xb5, 0x2f, 0xfd] + filler).kind == .unsupported)
        let response = try await Self.failure(Array("HTTP/1.1 500 no\r\n\r\nhost is away".utf8))
        #expect(response.kind == .unavailable)
        #expect(response.summary.contains("host is away") && response.summary.contains("machine web1"))
    }
}

@Suite("The check of an XVA that is written")
struct XVACheckTests {
    static func check(_ bytes: [UInt8], pieces: Int = 1000) throws {
        var check = XVACheck()
        var rest = bytes[...]
        while !rest.isEmpty {
            check.add(Array(rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
        }
        try check.finish()
    }

    @Test("accepts a whole one, in pieces of any size", arguments: [1, 3, 511, 100_000])
    func whole(pieces: Int) throws {
        var xva = HandMadeXVA()
        xva.add("Ref:4", 0, Sample.block(seed: 1).dropLast(pieces == 1 ? 2_097_000 : 1_500_000))
        try Self.check(xva.encode(), pieces: pieces)
    }

    @Test("accepts what is compressed unseen, in pieces of any size", arguments: [1, 2, 3, 50])
    func compressed(pieces: Int) throws {
        try Self.check([0x1f, 0x8b] + [UInt8](repeating: 9, count: 30), pieces: pieces)
        try Self.check([0x28, 0xb5, 0x2f, 0xfd] + [UInt8](repeating: 9, count: 30), pieces: pieces)
    }

    @Test("refuses what is too short, odd in length, without zeros at its end, or cut inside")
    func bad() throws {
        var xva = HandMadeXVA()
        xva.add("Ref:4", 0, [1, 2, 3])
        let bytes = xva.encode()
        for broken in [
            [], [0x1f], [0x1f, 0x8b, 3], [UInt8](repeating: 0, count: 19), Array(bytes.dropLast()), bytes + [0],
            Array(bytes.dropLast(512)), Array(bytes.dropLast(1024)),
            Array(bytes[..<512]) + [UInt8](repeating: 0, count: 1024),
            Array("HTTP/1.1 500 Internal Error\r\n\r\n".utf8),
        ] {
            let failure = #expect(throws: BackupFailure.self) { try Self.check(broken) }
            #expect(failure?.kind == .corruptData)
        }
    }
}
