import BackupFormats
import CairnTestSupport
import Testing

@Suite("A dynamic index")
struct DynamicIndexTests {
    static let uuid = SIMD16<UInt8>(repeating: 9)

    static func small() throws -> [UInt8] {
        try DynamicIndex.encode(
            [(10, "a"), (11, "b"), (4_000_000, "c")].map { DynamicIndexEntry(end: $0, digest: .of($1)) }, uuid: uuid,
            creationTime: 1_717_200_000)
    }

    @Test("has the checksum of its entry table")
    func checksum() throws {
        var checksum = DynamicIndexChecksum()
        #expect(try checksum.add(DynamicIndexEntry(end: 1, digest: .of("a"))) == 0..<1)
        #expect(try checksum.add(DynamicIndexEntry(end: 2, digest: .of("b"))) == 1..<2)
        #expect(checksum.value.description == "f7544ade862f9d310c0bd9e35879b53f0df575ae5c97b202f1859bbb9597f4dc")
        #expect(checksum.size == 2)
    }

    @Test("puts its fields where the format says")
    func layout() throws {
        let file = try Self.small()
        #expect(
            Array(file[0..<8]) == Array(ChunkDigest.of("Proxmox Backup dynamic sized chunk index v1.0").bytes.prefix(8))
        )
        #expect(file[64..<4096].allSatisfy { $0 == 0 })
        #expect(file.count == 4096 + 3 * 40)
        #expect(Array(file[4096..<4104]) == hex("0a00000000000000"))
    }

    @Test("finds the chunk of each byte")
    func lookup() throws {
        let index = try DynamicIndex(parsing: Self.small())
        #expect(index.count == 3)
        #expect(index.size == 4_000_000)
        #expect([0, 9, 10, 11, 3_999_999].map { index.entry(containing: $0) } == [0, 0, 1, 2, 2])
        #expect(index.entry(containing: 4_000_000) == nil)
        #expect(index.range(at: 2) == 11..<4_000_000)
        #expect(index.digest(at: 2) == .of("c"))
        #expect(index.computedChecksum == index.header.checksum)
    }

    @Test("may be empty")
    func empty() throws {
        let index = try DynamicIndex(parsing: DynamicIndex.encode([], uuid: Self.uuid, creationTime: 0))
        #expect(index.count == 0)
        #expect(index.size == 0)
        #expect(index.entry(containing: 0) == nil)
    }

    @Test("of the reference server reads, and writes back the same bytes")
    func fixture() throws {
        for path in ["plain/2024-06-01T00:00:00Z/tree.pxar.didx", "chunk64k/2024-06-01T00:00:00Z/sizes.pxar.didx"] {
            let file = try Fixtures.bytes("pbs/store/host/\(path)")
            let index = try DynamicIndex(parsing: file)
            #expect(index.computedChecksum == index.header.checksum)
            let again = try DynamicIndex.encode(
                (0..<index.count).map(index.entry(at:)), uuid: index.header.uuid,
                creationTime: index.header.creationTime)
            #expect(again == file)
            for entry in 0..<index.count {
                #expect(index.entry(containing: index.range(at: entry).lowerBound) == entry)
                #expect(index.entry(containing: index.range(at: entry).upperBound - 1) == entry)
            }
        }
    }

    @Test("adds up in pieces to the same checksum", arguments: [1, 2, 5])
    func pieces(entries: Int) throws {
        let file = try Fixtures.bytes("pbs/store/host/plain/2024-06-01T00:00:00Z/tree.pxar.didx")
        var checksum = DynamicIndexChecksum()
        for start in stride(from: 4096, to: file.count, by: entries * 40) {
            try checksum.add(table: Array(file[start..<min(start + entries * 40, file.count)]))
        }
        #expect(checksum.value == (try DynamicIndex(parsing: file)).header.checksum)
        #expect(checksum.size == 39_869_698)
    }

    @Test(
        "refuses entries out of order and chunks that are too big",
        arguments: [
            [10, 10], [10, 9], [0], [1 << 25], [UInt64.max], [1, (16 << 20) + 2],
        ] as [[UInt64]])
    func order(ends: [UInt64]) {
        #expect(throws: FormatError.self) {
            try DynamicIndex.encode(
                ends.map { DynamicIndexEntry(end: $0, digest: .zero) }, uuid: Self.uuid, creationTime: 0)
        }
    }

    @Test("names the offset of the entry that breaks the order")
    func offset() throws {
        var file = try Self.small()
        file[4096 + 40] = 10
        #expect(throws: FormatError.invalid("entry 1 ends at or before the one in front", offset: 4136)) {
            try DynamicIndex(parsing: file)
        }
    }

    @Test("survives damage")
    func damage() throws {
        let file = try Self.small()
        let whole = Set([4096, 4136, 4176])
        expectOnlyFormatErrors(from: file, cuts: (0..<file.count).filter { !whole.contains($0) }) { bytes in
            let index = try DynamicIndex(parsing: bytes)
            for entry in 0..<index.count { _ = (index.entry(at: entry), index.range(at: entry)) }
            _ = index.entry(containing: index.size / 2)
        }
    }
}
