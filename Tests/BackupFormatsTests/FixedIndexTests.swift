import BackupFormats
import CairnTestSupport
import Testing

@Suite("A fixed index")
struct FixedIndexTests {
    static let chunk = 4096
    static let uuid = SIMD16<UInt8>(repeating: 9)

    /// Three chunks, the last of 100 bytes.
    static func small() throws -> [UInt8] {
        try FixedIndex.encode(
            ["a", "b", "c"].map(ChunkDigest.of), uuid: uuid, creationTime: 1_717_200_000, size: UInt64(2 * chunk + 100),
            chunkByteCount: chunk)
    }

    @Test("has the checksum of its digests")
    func checksum() {
        var checksum = FixedIndexChecksum()
        checksum.add(.of("a"))
        checksum.add(.of("b"))
        #expect(checksum.value.description == "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a")
        #expect(checksum.count == 2)
    }

    @Test("puts its fields where the format says")
    func layout() throws {
        let file = try Self.small()
        #expect(
            Array(file[0..<8]) == Array(ChunkDigest.of("Proxmox Backup fixed sized chunk index v1.0").bytes.prefix(8)))
        #expect(Array(file[8..<24]) == [UInt8](repeating: 9, count: 16))
        #expect(Array(file[24..<32]) == hex("80645a6600000000"))
        #expect(Array(file[64..<72]) == hex("6420000000000000"))
        #expect(Array(file[72..<80]) == hex("0010000000000000"))
        #expect(file[80..<4096].allSatisfy { $0 == 0 })
        #expect(file.count == 4096 + 3 * 32)
        #expect(Array(file[4096..<4128]) == ChunkDigest.of("a").bytes)
    }

    @Test("finds the chunk of each byte")
    func lookup() throws {
        let index = try FixedIndex(parsing: Self.small())
        #expect(index.count == 3)
        #expect(index.range(at: 0) == 0..<4096)
        #expect(index.range(at: 2) == 8192..<8292)
        #expect(index.digest(at: 1) == .of("b"))
        #expect([0, 4095, 4096, 8191, 8192, 8291].map { index.entry(containing: $0) } == [0, 0, 1, 1, 2, 2])
        #expect(index.entry(containing: 8292) == nil)
        #expect(index.computedChecksum == index.header.checksum)
        #expect(index.header.creationTime == 1_717_200_000)
    }

    @Test("of the reference server reads, and writes back the same bytes")
    func fixture() throws {
        for path in [
            "host/plain/2024-06-01T00:00:00Z/disk.img.fidx", "host/enc/2024-06-02T00:00:00Z/disk.img.fidx",
            "ns/prod/ns/eu/vm/100/2024-06-01T00:00:00Z/drive-scsi0.img.fidx",
        ] {
            let file = try Fixtures.bytes("pbs/store/\(path)")
            let index = try FixedIndex(parsing: file)
            #expect(index.computedChecksum == index.header.checksum)
            let again = try FixedIndex.encode(
                (0..<index.count).map(index.digest), uuid: index.header.uuid, creationTime: index.header.creationTime,
                size: index.size, chunkByteCount: index.header.chunkByteCount)
            #expect(again == file)
        }
    }

    @Test("adds up in pieces to the same checksum", arguments: [1, 2, 5])
    func pieces(entries: Int) throws {
        let file = try Fixtures.bytes("pbs/store/host/plain/2024-06-01T00:00:00Z/disk.img.fidx")
        var checksum = FixedIndexChecksum()
        for start in stride(from: 4096, to: file.count, by: entries * 32) {
            try checksum.add(table: Array(file[start..<min(start + entries * 32, file.count)]))
        }
        #expect(checksum.value == (try FixedIndex(parsing: file)).header.checksum)
        #expect(throws: FormatError.self) { try checksum.add(table: [1, 2, 3]) }
    }

    @Test("is refused with a length, a chunk size or an image size that cannot be")
    func bounds() throws {
        let file = try Self.small()
        #expect(throws: FormatError.self) { try FixedIndex(parsing: file + [0]) }
        #expect(throws: FormatError.self) { try FixedIndex(parsing: file + [UInt8](repeating: 0, count: 32)) }
        func with(size: UInt64, chunk: UInt64) -> [UInt8] {
            var fields: [UInt8] = []
            fields.appendLittleEndian(size)
            fields.appendLittleEndian(chunk)
            return Array(file[..<64]) + fields + Array(file[80...])
        }
        #expect(throws: FormatError.invalid("chunk size 3000 is not a power of two", offset: 72)) {
            try FixedIndex(parsing: with(size: 8292, chunk: 3000))
        }
        for (size, chunk) in [
            (UInt64(8292), UInt64(0)), (8292, 1 << 25), (0, 4096), (.max, 4096), (.max, 1 << 24), (1 << 63, 1),
        ] {
            #expect(throws: FormatError.self) { try FixedIndex(parsing: with(size: size, chunk: chunk)) }
        }
        #expect(throws: FormatError.self) {
            try FixedIndex.encode([], uuid: Self.uuid, creationTime: 0, size: 1)
        }
    }

    @Test("survives damage")
    func damage() throws {
        let file = try Self.small()
        expectOnlyFormatErrors(from: file, cuts: 0..<file.count) { bytes in
            let index = try FixedIndex(parsing: bytes)
            for entry in 0..<index.count { _ = (index.digest(at: entry), index.range(at: entry)) }
        }
        let front = Array(file.prefix(80))
        expectOnlyFormatErrors(from: front, rounds: 2000, cuts: []) { bytes in
            _ = try FixedIndex(parsing: bytes + file[80...])
        }
    }
}
