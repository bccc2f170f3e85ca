import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@Suite("The footer and header of a VHD")
struct VHDStructureTests {
    @Test(
        "name the geometry that the specification computes",
        arguments: [
            (2, 61, 4, 17), (10, 302, 4, 17), (500, 1016, 16, 63), (1024, 2081, 16, 63), (10240, 20806, 16, 63),
            (133_120, 65535, 16, 255), (2_000_000, 65535, 16, 255),
        ] as [(UInt64, UInt16, UInt8, UInt8)])
    func geometry(mebibytes: UInt64, cylinders: UInt16, heads: UInt8, sectors: UInt8) {
        let geometry = VHDGeometry(diskOf: mebibytes << 20)
        #expect(geometry == VHDGeometry(cylinders: cylinders, heads: heads, sectorsPerTrack: sectors))
    }

    @Test(
        "never name a geometry that is smaller than a disk which it can name", arguments: [1, 5, 6, 7, 8] as [UInt64])
    func geometryCovers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let size = UInt64.random(in: 1...(31 << 30), using: &random)
            let geometry = VHDGeometry(diskOf: size)
            let covered = UInt64(geometry.cylinders) * UInt64(geometry.heads) * UInt64(geometry.sectorsPerTrack) * 512
            #expect(covered >= size, "\(size)")
        }
    }

    @Test("are written and read alike")
    func roundTrip() throws {
        var footer = VHDFooter(size: 10 << 20, type: .differencing, uuid: Sample.uuid, timeStamp: 9)
        footer.originalSize = 5 << 20
        let bytes = footer.encode()
        #expect(bytes.count == 512)
        #expect(try VHDFooter(parsing: bytes) == footer)

        var header = VHDHeader(size: 10 << 20, parent: (Sample.otherUUID, "../Größe/20240101T000000Z.vhd"))
        header.locators = [.init(code: 0x5732_7275, space: 1, byteCount: 30, offset: 4096)]
        #expect(header.encode().count == 1024)
        #expect(try VHDHeader(parsing: header.encode()) == header)
    }

    @Test("stand where the specification says")
    func layout() throws {
        let footer = VHDFooter(size: 10 << 20, type: .dynamic, uuid: Sample.uuid).encode()
        let start = Array("conectix".utf8) + big(2, 4) + big(0x10000, 4) + big(512, 8)
        #expect(footer[..<24].elementsEqual(start))
        #expect(footer[36..<40].elementsEqual("Wi2k".utf8))
        let sizes = big(10 << 20, 8) + big(10 << 20, 8)
        #expect(footer[40..<56].elementsEqual(sizes))
        let geometry: [UInt8] = [1, 46, 4, 17, 0, 0, 0, 3]
        #expect(footer[56..<64].elementsEqual(geometry))
        #expect(footer[68..<84].elementsEqual(Sample.uuid.bytes))
        #expect(footer[84...].allSatisfy { $0 == 0 })

        #expect(Array(footer[64..<68]) == [0xff, 0xff, 0xf0, 0xcb])
        #expect(Array(VHDHeader(size: 10 << 20).encode()[36..<40]) == [0xff, 0xff, 0xf4, 0x72])
        let header = VHDHeader(size: 10 << 20, parent: (Sample.uuid, "é.vhd")).encode()
        let headerStart = Array("cxsparse".utf8) + big(.max, 8) + big(1536, 8)
        #expect(header[..<24].elementsEqual(headerStart))
        let numbers: [UInt8] = [0, 1, 0, 0, 0, 0, 0, 5, 0, 0x20, 0, 0]
        #expect(header[24..<36].elementsEqual(numbers))
        #expect(header[40..<56].elementsEqual(Sample.uuid.bytes))
        #expect(header[64..<74].elementsEqual([0, 0xe9, 0, 0x2e, 0, 0x76, 0, 0x68, 0, 0x64] as [UInt8]))
        #expect(header[74...].allSatisfy { $0 == 0 })
    }

    @Test("are read as others write them")
    func foreign() throws {
        let foreign = HandMadeVHD(size: 7 << 20, type: 4, parentUUID: Sample.otherUUID.bytes, parentName: "a.vhd")
        let footer = try VHDFooter(parsing: foreign.footer())
        #expect(footer.currentSize == 7 << 20)
        #expect(footer.type == .differencing)
        #expect(footer.uuid.description == "10111213-1415-1617-1819-1a1b1c1d1e1f")
        #expect(footer.encode() == foreign.footer())
        let header = try VHDHeader(parsing: foreign.header())
        #expect(header.maxTableEntries == 4)
        #expect(header.parentUUID == Sample.otherUUID)
        #expect(header.parentName == "a.vhd")
    }

    @Test("are refused where any byte is not what was summed up")
    func checksum() throws {
        let footer = VHDFooter(size: 10 << 20, type: .dynamic, uuid: Sample.uuid).encode()
        for index in footer.indices {
            var broken = footer
            broken[index] ^= 0x10
            #expect(throws: FormatError.self) { try VHDFooter(parsing: broken) }
        }
        let header = VHDHeader(size: 10 << 20).encode()
        for index in header.indices {
            var broken = header
            broken[index] ^= 0x10
            #expect(throws: FormatError.self) { try VHDHeader(parsing: broken) }
        }
    }

    @Test("are refused where they are cut short", arguments: [0, 1, 8, 60, 84, 511])
    func cut(at count: Int) {
        let footer = VHDFooter(size: 10 << 20, type: .dynamic, uuid: Sample.uuid).encode()
        #expect(throws: FormatError.self) { try VHDFooter(parsing: Array(footer[..<count])) }
        #expect(throws: FormatError.self) { try VHDHeader(parsing: Array(VHDHeader(size: 1).encode()[..<(count * 2)])) }
    }

    @Test("are refused with what no disk of ours can have")
    func limits() {
        var fixed = HandMadeVHD(size: 4 << 20)
        fixed.type = 2
        #expect(throws: FormatError.self) { try VHDFooter(parsing: fixed.footer()) }
        let huge = HandMadeVHD(size: (64 << 40) + 1)
        #expect(throws: FormatError.self) { try VHDFooter(parsing: huge.footer()) }
        var table = HandMadeVHD(size: 4 << 20)
        table.entryCount = (32 << 20) + 1
        #expect(throws: FormatError.self) { try VHDHeader(parsing: table.header()) }
        for blockBytes: UInt32 in [0, 511, 3 << 20, 1 << 20, 4 << 20] {
            var blocks = HandMadeVHD(size: 4 << 20)
            blocks.blockBytes = blockBytes
            #expect(throws: FormatError.self) { try VHDHeader(parsing: blocks.header()) }
        }
        var early = HandMadeVHD(size: 4 << 20)
        early.tableOffset = 1024
        #expect(throws: FormatError.self) { try VHDHeader(parsing: early.header()) }
    }

    @Test("shrink no disk: an original size above the current one is refused")
    func originalSize() {
        var footer = VHDFooter(size: 10 << 20, type: .dynamic, uuid: Sample.uuid)
        footer.originalSize += 1
        #expect(throws: FormatError.self) { try VHDFooter(parsing: footer.encode()) }
    }
}

@Suite("The block table of a VHD")
struct VHDBlockTableTests {
    @Test("keeps unsigned sectors, in any order of blocks")
    func entries() throws {
        var table = VHDBlockTable(entryCount: 300)
        for (index, sector) in [(5, 0xffff_fffe), (299, 3), (0, 0x8000_0000), (7, 9)] as [(Int, UInt32)] {
            try table.set(sector, at: index)
        }
        #expect(table.presentBlocks == [0, 5, 7, 299])
        #expect(table[5] == 0xffff_fffe)
        #expect(table[6] == nil)
        #expect(table.entriesInFileOrder.map(\.index) == [299, 7, 0, 5])
        try table.set(11, at: 5)
        #expect(table[5] == 11)
        #expect(table.count == 4)
    }

    @Test("is written in pieces and read in pieces")
    func pieces() throws {
        var random = SeededRandom(seed: 3)
        var table = VHDBlockTable(entryCount: 1000)
        for index in (0..<1000).shuffled(using: &random).prefix(300) {
            try table.set(UInt32.random(in: 0..<UInt32.max, using: &random), at: index)
        }
        #expect(VHDBlockTable.byteCount(entryCount: 1000) == 4096)
        let bytes = table.encode(0..<500) + table.encode(500..<1024)
        #expect(bytes.count == 4096)
        #expect(bytes[4000...].allSatisfy { $0 == 0xff })
        var again = VHDBlockTable(entryCount: 1000)
        try again.append(parsing: Array(bytes[..<1024]), first: 0)
        try again.append(parsing: Array(bytes[1024...]), first: 256)
        #expect(again == table)
    }

    @Test("refuses a block outside of the disk")
    func outside() {
        var table = VHDBlockTable(entryCount: 10)
        #expect(throws: FormatError.self) { try table.set(1, at: 10) }
        #expect(throws: FormatError.self) { try table.set(1, at: -1) }
    }
}

@Suite("The uuid of a disk")
struct DiskUUIDTests {
    @Test("is the text that hosts show")
    func text() {
        #expect(Sample.uuid.description == "01234567-89ab-cdef-0123-456789abcdef")
        #expect(DiskUUID(parsing: "01234567-89AB-CDEF-0123-456789ABCDEF") == Sample.uuid)
        #expect(
            Sample.uuid.bytes == [
                1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
            ])
    }

    @Test(
        "is nothing else",
        arguments: ["", "01234567", "0123456789ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg"])
    func bad(_ text: String) {
        #expect(DiskUUID(parsing: text) == nil)
    }
}
