import BackupFormats
import Pxar
import Testing

@Suite("An archive")
struct PxarVectorTests {
    static let version1 = [UInt8](
        hex: """
            efac88e5746495d53800000000000000ed410000000000000000000000000000
            0000000000000000010000000000000000000000000000 00
            b3173906211170161200000000000000 6600
            efac88e5746495d53800000000000000a4810000000000000000000000000000
            0000000000000000020000000000000000000000000000 00
            251a7c0b1b7a14281200000000000000 6869
            1d73d542a64fec2f4000000000000000
            4011d5e3a4ab7643 5c00000000000000 5c00000000000000
            55153e755bed5eef 9400000000000000 4000000000000000
            """)

    @Test("of one file has the bytes of the specification")
    func minimal() throws {
        var output: [UInt8] = []
        let root = PxarMetadata(stat: PxarStat(mode: 0o040755, mtime: PxarTime(seconds: 1)))
        var encoder = try PxarEncoder(root: root, into: &output)
        let file = PxarMetadata(stat: PxarStat(mode: 0o100644, mtime: PxarTime(seconds: 2)))
        try encoder.beginFile(Array("f".utf8), file, size: 2, into: &output)
        output += Array("hi".utf8)
        encoder.passedPayload(2)
        encoder.endDirectory(into: &output)
        #expect(encoder.isFinished)
        #expect(encoder.position == 212)
        #expect(output == Self.version1)
    }

    @Test("hashes names as the specification does")
    func nameHashes() {
        #expect(PxarNameHash.hash("a".utf8) == 0x0c26_e906_7c2c_7bcf)
        #expect(PxarNameHash.hash("hello.txt".utf8) == 0x9b1e_e0b8_4c66_190c)
        #expect(PxarNameHash.hash("".utf8) == 0x7661_4015_f8d1_bb6c)
    }

    @Test("lays tables out as a search tree, breadth first")
    func layout() {
        #expect(GoodbyeTable.layOut(sorted: [0, 1, 2, 3, 4]) == [3, 1, 4, 0, 2])
        #expect(
            GoodbyeTable.layOut(sorted: [0, 1, 2, 2, 2, 3, 4, 5, 6, 6, 7, 8, 8, 8]) == [
                5, 2, 8, 1, 3, 6, 8, 0, 2, 2, 4, 6, 7, 8,
            ])
        #expect(GoodbyeTable.layOut(sorted: [Int]()).isEmpty)
        for count in 1...200 {
            let table = GoodbyeTable.layOut(sorted: Array(0..<count))
            for place in 1..<max(count, 2) where place < count {
                let parent = (place - 1) / 2
                #expect(place % 2 == 1 ? table[place] < table[parent] : table[place] > table[parent])
            }
            #expect(table.sorted() == Array(0..<count))
        }
    }

    @Test("of version 2 gives references into the payload")
    func version2() throws {
        var bytes: [UInt8] = []
        func item(_ type: PxarItemType, _ content: [UInt8]) {
            bytes.appendLittleEndian(type.rawValue)
            bytes.appendLittleEndian(UInt64(16 + content.count))
            bytes += content
        }
        func words(_ values: UInt64...) -> [UInt8] {
            values.reduce(into: []) { $0.appendLittleEndian($1) }
        }
        item(.formatVersion, words(2))
        item(.prelude, Array("{}".utf8))
        bytes += Self.version1[0..<56]
        bytes += Self.version1[56..<74]
        bytes += Self.version1[74..<130]
        item(.payloadReference, words(16, 2))
        let table = UInt64(bytes.count)
        item(
            .goodbye,
            words(0x4376_aba4_e3d5_1140, table - 98, 108, 0xef5e_ed5b_753e_1555, table, 64))
        let steps = try decode(bytes)
        #expect(steps.first == .prelude(Array("{}".utf8)))
        #expect(steps.count == 5)
        guard case .entry(let file) = steps[2] else { Issue.record("no file"); return }
        #expect(file.content == .fileReference(offset: 16, size: 2))
        #expect(try decode(bytes, slice: 1) == steps)
    }
}
