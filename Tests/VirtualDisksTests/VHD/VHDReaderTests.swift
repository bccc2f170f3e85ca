import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@Suite("A VHD that a host sends")
struct VHDReaderTests {
    /// 5 blocks, the last one of 1 MiB and a bit.
    static let size: UInt64 = (9 << 20) + 1536

    /// Two blocks in the middle, the last one, out of order, with gaps.
    static func sample() -> (vhd: HandMadeVHD, disk: SampleDisk) {
        let disk = SampleDisk(size: size, present: [1, 3, 4], seed: 77)
        var vhd = HandMadeVHD(size: size)
        vhd.blocks = [
            .init(index: 3, bytes: disk[3], gap: 1024), .init(index: 4, bytes: disk[4]),
            .init(index: 1, bytes: disk[1], gap: 512),
        ]
        return (vhd, disk)
    }

    static func read(_ bytes: [UInt8]) async throws -> SampleDisk {
        try await collect(try await VHDReader.open(BytesSource(bytes)))
    }

    @Test("gives its blocks in the order of the file, past gaps")
    func order() async throws {
        let (vhd, disk) = Self.sample()
        let reader = try await VHDReader.open(BytesSource(vhd.encode()))
        #expect(reader.size == Self.size)
        #expect(!reader.isDifferencing)
        #expect(reader.parentUUID == nil)
        #expect(reader.uuid.bytes == vhd.uuid)
        #expect(reader.presentBlocks == [1, 3, 4])
        var order: [Int] = []
        while let block = try await reader.nextBlock() {
            order.append(block.index)
            #expect(isSame(block.bytes, disk[block.index]))
        }
        #expect(order == [3, 4, 1])
        #expect(try await reader.nextBlock() == nil)
    }

    @Test("may have locators before its table, blanks before its end, more entries than the disk has blocks")
    func tolerated() async throws {
        var (vhd, disk) = Self.sample()
        vhd.locator = 2048
        vhd.tableOffset = 4096
        vhd.blanks = 3 * 512
        vhd.entryCount = 4000
        #expect(try await Self.read(vhd.encode()) == disk)
        vhd.blanks = 70_001
        #expect(try await Self.read(vhd.encode()) == disk)
    }

    @Test("may store the disk's last block short, in the middle of the file or at its end")
    func shortBlock() async throws {
        var (vhd, disk) = Self.sample()
        let short = (1 << 20) + 1536
        vhd.blocks[1].stored = short
        #expect(try await Self.read(vhd.encode()) == disk)
        vhd.blocks.swapAt(1, 2)
        #expect(try await Self.read(vhd.encode()) == disk)
        vhd.blanks = 1024
        #expect(try await Self.read(vhd.encode()) == disk)
    }

    @Test("gives zeros behind the end of the disk, whatever it holds there")
    func padding() async throws {
        var (vhd, disk) = Self.sample()
        vhd.blocks[1].bytes = Sample.block(seed: 5)
        disk[4] = Sample.trimmed(Sample.block(seed: 5), disk: Self.size, index: 4)
        #expect(try await Self.read(vhd.encode()) == disk)
    }

    @Test("gives zeros for the sectors that a dynamic disk does not hold")
    func clearBits() async throws {
        var (vhd, disk) = Self.sample()
        vhd.blocks[0].bitmap[0] = 0b0111_1110
        vhd.blocks[0].bitmap[511] = 0
        var expected = disk[3]
        for sector in [0, 7] + Array(4088..<4096) {
            expected.replaceSubrange(sector * 512..<sector * 512 + 512, with: [UInt8](repeating: 0, count: 512))
        }
        disk[3] = expected
        #expect(try await Self.read(vhd.encode()) == disk)
    }

    @Test("is a difference where it says so, and names its parent")
    func differencing() async throws {
        var (vhd, disk) = Self.sample()
        vhd.type = 4
        vhd.parentUUID = Sample.otherUUID.bytes
        // Nothing of block 3 is its own; bits behind the end of the disk say nothing.
        vhd.blocks[0].bitmap = [UInt8](repeating: 0, count: 512)
        vhd.blocks[1].bitmap.replaceSubrange(300..., with: [UInt8](repeating: 0, count: 212))
        let reader = try await VHDReader.open(BytesSource(vhd.encode()))
        #expect(reader.isDifferencing)
        #expect(reader.parentUUID == Sample.otherUUID)
        var expected = SampleDisk(size: Self.size)
        for index in [1, 4] { expected[index] = disk[index] }
        disk = try await collect(reader)
        #expect(disk == expected)
    }

    @Test("is refused as a difference where a block is its own in part only")
    func partialBlock() async throws {
        var (vhd, _) = Self.sample()
        vhd.type = 4
        vhd.blocks[2].bitmap[100] = 0
        let bytes = vhd.encode()
        let failure = try await #require(throws: BackupFailure.self) { try await Self.read(bytes) }
        #expect(failure.kind == .unsupported)
    }

    @Test("may be empty")
    func empty() async throws {
        #expect(try await Self.read(HandMadeVHD(size: Self.size).encode()) == SampleDisk(size: Self.size))
        #expect(try await Self.read(HandMadeVHD(size: 0).encode()) == SampleDisk(size: 0))
    }

    @Test("is the same however the network cuts it", arguments: [1, 2, 3] as [UInt64])
    func slices(seed: UInt64) async throws {
        let (vhd, disk) = Self.sample()
        for longest in [700, 5000, 3 << 20] {
            let source = SlicedSource(vhd.encode(), longest: longest, seed: seed)
            #expect(try await collect(try await VHDReader.open(source)) == disk, "seed \(seed)")
        }
    }

    @Test("is incomplete wherever it is cut")
    func cut() async throws {
        var (vhd, _) = Self.sample()
        vhd.blocks[2].stored = 2 << 20
        let bytes = vhd.encode()
        var random = SeededRandom(seed: 4)
        var lengths = [0, 4, 5, 511, 512, 513, 1535, 1536, 2047, 2048, bytes.count - 1, bytes.count - 511]
        lengths += [bytes.count - 512, bytes.count - 513, bytes.count - 1024]
        lengths += (0..<10).map { _ in Int.random(in: 0..<bytes.count, using: &random) }
        for length in lengths {
            let source = BytesSource(Array(bytes[..<length]))
            let failure = try await #require(throws: BackupFailure.self, "\(length)") {
                try await collect(try await VHDReader.open(source))
            }
            #expect(failure.kind == .unavailable, "\(length)")
        }
    }

    @Test("stays failed once it failed")
    func staysFailed() async throws {
        let bytes = Self.sample().vhd.encode()
        let reader = try await VHDReader.open(BytesSource(Array(bytes[..<(bytes.count - 512)])))
        for _ in 0..<3 { _ = try await reader.nextBlock() }
        for _ in 0..<2 { await #expect(throws: BackupFailure.self) { try await reader.nextBlock() } }
    }

    @Test("is refused with another footer at its end")
    func otherFooter() async throws {
        var bytes = Self.sample().vhd.encode()
        bytes[bytes.count - 440] ^= 1
        let broken = bytes
        await #expect(throws: BackupFailure.self) { try await Self.read(broken) }
    }

    @Test("is refused with blocks before the end of the table, inside of others, or twice the same place")
    func places() async throws {
        for entries: [Int: UInt32] in [[0: 0], [0: 3], [0: 4], [1: 6], [0: 4104], [0: 6, 1: 6]] {
            var (vhd, _) = Self.sample()
            vhd.entries = entries
            let bytes = vhd.encode()
            let failure = try await #require(throws: BackupFailure.self, "\(entries)") { try await Self.read(bytes) }
            #expect(failure.kind == .corruptData, "\(entries)")
        }
    }

    @Test("may have blocks at sectors of 2^31 and more: what is missing there is what fails")
    func unsignedEntries() async throws {
        for sector: UInt32 in [0x7fff_0000, 0x8000_0000, 0xffff_fffe] {
            var (vhd, _) = Self.sample()
            vhd.entries = [0: sector]
            let bytes = vhd.encode()
            let reader = try await VHDReader.open(BytesSource(bytes))
            #expect(reader.presentBlocks == [0, 1, 3, 4])
            let failure = try await #require(throws: BackupFailure.self) { try await collect(reader) }
            #expect(failure.kind == .unavailable)
        }
    }

    @Test("is refused with a table that is shorter than the disk")
    func shortTable() async throws {
        var vhd = HandMadeVHD(size: Self.size)
        vhd.entryCount = 4
        let bytes = vhd.encode()
        let failure = try await #require(throws: BackupFailure.self) { try await Self.read(bytes) }
        #expect(failure.kind == .corruptData)
    }

    @Test("is refused as what it is where the body holds an HTTP response")
    func response() async throws {
        let body = "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\n<html>base missing</html>"
        let failure = try await #require(throws: BackupFailure.self) {
            try await VHDReader.open(BytesSource(Array(body.utf8)), name: "disk xvda of web1")
        }
        #expect(failure.kind == .unavailable)
        #expect(failure.summary.contains("disk xvda of web1"))
        #expect(failure.summary.contains("HTTP/1.1 500 Internal Server Error"))
        #expect(failure.summary.contains("base missing"))
    }

    @Test("is refused where it is something else", arguments: ["", "QFI\u{fb}", "vhdxfile", "conectix", "<html>"])
    func garbage(start: String) async throws {
        let bytes = Array(start.utf8) + [UInt8](repeating: 1, count: 4096)
        await #expect(throws: BackupFailure.self) { try await Self.read(bytes) }
    }
}
