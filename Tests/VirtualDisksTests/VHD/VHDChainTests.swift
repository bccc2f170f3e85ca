import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

@Suite("A chain of VHD files")
struct VHDChainTests {
    static func uuid(_ number: Int) -> DiskUUID {
        DiskUUID(parsing: "00000000-0000-0000-0000-00000000000\(number)") ?? .zero
    }

    /// Files, oldest first, and what the youngest shows. Sizes grow; some blocks hold some of their sectors only.
    static func chain(sizes: [UInt64], seed: UInt64, partly: Bool = true) async throws -> ([MemoryFile], SampleDisk) {
        var random = SeededRandom(seed: seed)
        var files: [MemoryFile] = []
        var disk = SampleDisk(size: 0)
        for (number, size) in sizes.enumerated() {
            disk = disk.resized(to: size)
            let file = MemoryFile()
            let writer = try await VHDFileWriter.create(
                file, name: "\(number).vhd", size: size, uuid: uuid(number),
                parent: number == 0 ? nil : .init(uuid: uuid(number - 1), name: "\(number - 1).vhd"))
            let count = DiskGeometry.blockCount(size)
            var blocks = Set([count - 1])
            while blocks.count < min(count, 3) { blocks.insert(Int.random(in: 0..<count, using: &random)) }
            for index in blocks.shuffled(using: &random) {
                var block = VHDBlock(
                    index: index, bytes: Sample.block(seed: random.next(), disk: size, index: index))
                if partly, number > 0, Bool.random(using: &random) {
                    var sectors = SectorBitmap.empty
                    let older = disk[index]
                    for sector in 0..<SectorBitmap.sectorCount {
                        let isThere = (sector / 700) % 2 == 0
                        sectors[sector] = isThere
                        if !isThere {
                            let range = sector * 512..<sector * 512 + 512
                            block.bytes.replaceSubrange(range, with: older[range])
                        }
                    }
                    block.sectors = sectors
                }
                disk[index] = block.bytes
                if !block.sectors.isFull() {
                    for run in block.sectors.runs(of: false) {
                        let range = run.lowerBound * 512..<run.upperBound * 512
                        block.bytes.replaceSubrange(range, with: [UInt8](repeating: 0xee, count: range.count))
                    }
                }
                try await writer.write(block)
            }
            try await writer.finish()
            files.append(file)
        }
        return (files, disk)
    }

    /// Youngest first, from files that are oldest first.
    static func open(
        _ files: [MemoryFile], _ strictness: VHDFile.Strictness = .strict, isPart: Bool = false
    ) async throws -> VHDChain {
        var opened: [VHDFile] = []
        for (number, file) in files.enumerated().reversed() {
            opened.append(try await VHDFile.open(file, name: "\(number).vhd", number == 0 ? strictness : .strict))
        }
        return try await VHDChain.open(opened, isPart: isPart)
    }

    @Test("shows of each sector the youngest, while the disk grows", arguments: [1, 2, 3, 4] as [UInt64])
    func reads(seed: UInt64) async throws {
        let sizes: [UInt64] = [(5 << 20) + 512, (5 << 20) + 512, (8 << 20) + 1024, 12 << 20]
        let (files, disk) = try await Self.chain(sizes: sizes, seed: seed)
        #expect(try await shows(try await Self.open(files), disk), "seed \(seed)")
    }

    @Test("is refused where a file is not the parent of the next, or one is missing")
    func identities() async throws {
        let (files, _) = try await Self.chain(sizes: [4 << 20, 4 << 20, 4 << 20], seed: 1)
        for wrong in [[files[0], files[2]], [files[1], files[2]], [files[0], files[0]], []] {
            let failure = try await #require(throws: BackupFailure.self) { try await Self.open(wrong) }
            #expect(failure.kind == .corruptData)
        }
        #expect(try await Self.open([files[1], files[2]], isPart: true).isDifferencing)
    }

    /// Merges all files into the first and closes it as the last.
    static func merge(_ files: [MemoryFile], into base: MemoryFile) async throws {
        let children = try await open(Array(files.dropFirst()), isPart: true)
        let last = try await VHDFile.open(files[files.count - 1], name: "last.vhd", .strict)
        let parent = try await VHDFile.open(base, name: "0.vhd", .lenient)
        try await parent.grow(to: children.size)
        for (number, index) in try await children.presentBlocks().enumerated() {
            if let block = try await children.merged(index) { try await parent.write(block) }
            if number % 2 == 1 { try await parent.sync() }
        }
        try await parent.finish(await last.footer)
    }

    @Test(
        "is one file after a merge, with a table that had to grow or not",
        arguments: [
            [(5 << 20) + 512, (5 << 20) + 512, (9 << 20) + 1024], [(250 << 20) + 1536, 290 << 20, 700 << 20],
        ] as [[UInt64]])
    func merges(sizes: [UInt64]) async throws {
        for seed in [5, 6] as [UInt64] {
            let (files, disk) = try await Self.chain(sizes: sizes, seed: seed)
            let merged = MemoryFile(files[0].bytes)
            try await Self.merge(files, into: merged)
            let opened = try await VHDFile.open(merged, name: "merged.vhd", .strict)
            #expect(await opened.uuid == Self.uuid(2))
            #expect(await !opened.isDifferencing)
            #expect(try await shows(try await VHDChain.open([opened]), disk), "seed \(seed)")
            let read = try await collect(try await VHDReader.open(BytesSource(merged.bytes)))
            #expect(read.size == disk.size && isSame(read[0], disk[0]), "seed \(seed)")
            if QemuImage.isThere { try await VHDFileQemuTests.compare(merged, disk, in: try TemporaryFolder()) }
        }
    }

    /// At normal count every sixth change from a drawn one on; with `CAIRN_SOAK=1` at all of them.
    @Test(
        "loses nothing where a merge is broken off, by a kill or a loss of power, and can be merged again",
        arguments: [
            [(3 << 20) + 512, 5 << 20], [(250 << 20) + 1536, 700 << 20],
        ] as [[UInt64]])
    func brokenOff(sizes: [UInt64]) async throws {
        let isSoak = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1"
        let seed = UInt64.random(in: 0..<1000)
        var random = SeededRandom(seed: seed)
        let (files, disk) = try await Self.chain(sizes: sizes, seed: seed)
        let whole = MemoryFile(files[0].bytes)
        try await Self.merge(files, into: whole)
        let before = await (try VHDFile.open(MemoryFile(files[0].bytes), name: "0.vhd", .strict)).presentBlocks
        let every = isSoak ? 1 : 6
        for step in stride(from: Int.random(in: 1...every, using: &random), through: whole.changeCount, by: every) {
            let base = MemoryFile(files[0].bytes, breakAt: step)
            await #expect(throws: MemoryFile.Broken.self) { try await Self.merge(files, into: base) }
            let losses = (0..<2).map { _ in (base.afterLoss(&random), "loss") }
            for (left, kind) in [(base.bytes, "kill")] + losses {
                let comment: Comment = "seed \(seed), \(kind) at \(step) of \(whole.changeCount)"
                let base = MemoryFile(left)
                let opened = try await VHDFile.open(base, name: "0.vhd", .lenient)
                if await opened.uuid == Self.uuid(0) {
                    let children = try await VHDFile.open(files[1], name: "1.vhd", .strict)
                    #expect(try await shows(try await VHDChain.open([children, opened]), disk), comment)
                    // What the table names that was not there before lies there whole.
                    for index in await opened.table.presentBlocks where !before.contains(index) {
                        #expect(index < DiskGeometry.blockCount(await opened.size), comment)
                        let block = try #require(try await opened.block(index), comment)
                        let written = try #require(try await children.block(index), comment)
                        #expect(isSame(block.bytes, written.bytes) && block.sectors == written.sectors, comment)
                    }
                } else {
                    _ = try await VHDFile.open(base, name: "0.vhd", .strict)
                }
                if let strict = try? await VHDFile.open(base, name: "0.vhd", .strict), await strict.uuid == Self.uuid(1)
                {
                    #expect(try await shows(try await VHDChain.open([strict]), disk), comment)
                }
                try await Self.merge(files, into: base)
                let merged = try await VHDFile.open(base, name: "0.vhd", .strict)
                #expect(try await shows(try await VHDChain.open([merged]), disk), comment)
            }
        }
    }
}

@Suite("A VHD file that is opened")
struct VHDFileTests {
    static func handMade() -> (HandMadeVHD, SampleDisk) { VHDReaderTests.sample() }

    static func open(_ bytes: [UInt8], _ strictness: VHDFile.Strictness) async throws -> VHDFile {
        try await VHDFile.open(MemoryFile(bytes), name: "a.vhd", strictness)
    }

    @Test("may have its blocks in any order, gaps, a short last block")
    func foreign() async throws {
        var (vhd, disk) = Self.handMade()
        vhd.blocks[1].stored = (1 << 20) + 1536
        vhd.locator = 2048
        vhd.tableOffset = 4096
        let opened = try await Self.open(vhd.encode(), .strict)
        #expect(try await shows(try await VHDChain.open([opened]), disk))
    }

    @Test("takes a whole block where a short one was")
    func shortBlock() async throws {
        var (vhd, disk) = Self.handMade()
        vhd.blocks[1].stored = (1 << 20) + 1536
        let file = MemoryFile(vhd.encode())
        let opened = try await VHDFile.open(file, name: "a.vhd", .strict)
        try await opened.grow(to: 12 << 20)
        disk = disk.resized(to: 12 << 20)
        #expect(try await shows(try await VHDChain.open([opened]), disk))
        disk[4] = Sample.block(seed: 99)
        try await opened.write(VHDBlock(index: 4, bytes: disk[4]))
        try await opened.finish()
        #expect(try await shows(try await VHDChain.open([try await Self.open(file.bytes, .strict)]), disk))
    }

    @Test("keeps its locators where they lie in the way of the table")
    func locators() async throws {
        var (vhd, disk) = Self.handMade()
        vhd.blocks[0].gap = 1024
        var bytes = vhd.encode()
        // Behind the table, in the gap: the header names it and its checksum is made anew.
        vhd.locator = 2048
        bytes.replaceSubrange(512..<1536, with: vhd.header())
        bytes.replaceSubrange(2048..<2560, with: [UInt8](repeating: 0xbb, count: 512))
        let file = MemoryFile(bytes)
        let opened = try await VHDFile.open(file, name: "a.vhd", .strict)
        try await opened.grow(to: 600 << 20)
        try await opened.finish()
        disk = disk.resized(to: 600 << 20)
        let again = try await Self.open(file.bytes, .strict)
        #expect(try await shows(try await VHDChain.open([again]), disk))
        let locator = try #require(await again.header.locators.first)
        #expect(locator.byteCount == 20)
        #expect(try await file.read(at: locator.offset, count: 20) == [UInt8](repeating: 0xbb, count: 20))
    }

    @Test("opens strictly only with both footers alike, leniently with either")
    func footers() async throws {
        let (vhd, disk) = Self.handMade()
        let bytes = vhd.encode()
        var variants = [Array(bytes.dropLast(512)), Array(bytes.dropLast(100))]
        for offset in [10, bytes.count - 500] {
            variants.append(bytes)
            variants[variants.count - 1][offset] ^= 1
        }
        for variant in variants {
            await #expect(throws: BackupFailure.self) { try await Self.open(variant, .strict) }
            let opened = try await Self.open(variant, .lenient)
            #expect(try await shows(try await VHDChain.open([opened]), disk))
        }
        var neither = Array(bytes.dropLast(512))
        neither[10] ^= 1
        let broken = neither
        await #expect(throws: BackupFailure.self) { try await Self.open(broken, .lenient) }
    }

    @Test("is refused with blocks where none can be; opened leniently, only those cannot be read")
    func places() async throws {
        for entries: [Int: UInt32] in [[0: 3], [0: 4], [1: 6], [0: 6, 1: 6], [0: 0xffff_fffe], [0: 12_290]] {
            var (vhd, disk) = Self.handMade()
            vhd.entries = entries
            let bytes = vhd.encode()
            let failure = try await #require(throws: BackupFailure.self, "\(entries)") {
                try await Self.open(bytes, .strict)
            }
            #expect(failure.kind == .corruptData)
            let opened = try await Self.open(bytes, .lenient)
            #expect(isSame(try #require(try await opened.block(4)).bytes, disk[4]))
            for index in entries.keys {
                await #expect(throws: BackupFailure.self, "\(entries)") { try await opened.block(index) }
            }
        }
    }

    @Test("takes a whole block in place of one that cannot be read, unless the table names places that nobody wrote")
    func mended() async throws {
        var (vhd, disk) = Self.handMade()
        let sectors = UInt32(vhd.encode().count / 512)
        for (sector, isMended) in [(sectors - 2, true), (sectors + 100, true), (0xf000_0000, false)] as [(UInt32, Bool)]
        {
            vhd.entries = [0: sector]
            let file = MemoryFile(vhd.encode())
            let opened = try await VHDFile.open(file, name: "a.vhd", .lenient)
            disk[0] = Sample.block(seed: 6)
            let block = VHDBlock(index: 0, bytes: disk[0])
            if isMended {
                try await opened.write(block)
                try await opened.finish()
                #expect(try await shows(try await VHDChain.open([try await Self.open(file.bytes, .strict)]), disk))
            } else {
                let failure = try await #require(throws: BackupFailure.self) { try await opened.write(block) }
                #expect(failure.kind == .corruptData)
                #expect(file.bytes.count < 10 << 20)
            }
        }
    }

    @Test("is refused where it ends inside of its header, table or blocks")
    func cut() async throws {
        let bytes = Self.handMade().0.encode()
        for length in [0, 511, 512, 1000, 1536, 1800, 2047, 3000, bytes.count - 600] {
            await #expect(throws: BackupFailure.self, "\(length)") {
                try await Self.open(Array(bytes[..<length]), .strict)
            }
        }
        for length in [0, 511, 512, 1000, 1536, 1800, 2047] {
            await #expect(throws: BackupFailure.self, "\(length)") {
                try await Self.open(Array(bytes[..<length]), .lenient)
            }
        }
    }

    @Test("grows by any size")
    func growsFar() async throws {
        let (vhd, small) = Self.handMade()
        let file = MemoryFile(vhd.encode())
        let opened = try await VHDFile.open(file, name: "a.vhd", .strict)
        var disk = small.resized(to: 400 << 30)
        try await opened.grow(to: disk.size)
        disk[200_000] = Sample.block(seed: 3)
        try await opened.write(VHDBlock(index: 200_000, bytes: disk[200_000]))
        try await opened.finish()
        #expect(try await shows(try await VHDChain.open([try await Self.open(file.bytes, .strict)]), disk))
        await #expect(throws: BackupFailure.self) { try await opened.grow(to: (64 << 40) + 1) }
    }

    @Test("names another parent")
    func parent() async throws {
        let file = MemoryFile()
        let disk = SampleDisk(size: 5 << 20, present: [1], seed: 3)
        try await VHDFileWriterTests.write(
            disk, order: [1], parent: .init(uuid: Sample.otherUUID, name: "a.vhd"), to: file)
        let opened = try await VHDFile.open(file, name: "b.vhd", .strict)
        try await opened.setParent(Sample.uuid, name: "c.vhd")
        let again = try await VHDFile.open(file, name: "b.vhd", .strict)
        #expect(await again.parentUUID == Sample.uuid)
        #expect(await again.header.parentName == "c.vhd")
        await #expect(throws: BackupFailure.self) {
            try await opened.setParent(Sample.uuid, name: String(repeating: "x", count: 257))
        }
    }

    @Test("refuses blocks behind its end")
    func bad() async throws {
        let opened = try await Self.open(Self.handMade().0.encode(), .strict)
        for index in [-1, 5, 1 << 40] {
            await #expect(throws: BackupFailure.self) {
                try await opened.write(VHDBlock(index: index, bytes: Sample.block(seed: 1)))
            }
        }
        #expect(try await opened.block(5) == nil)
        #expect(try await opened.block(-1) == nil)
    }
}
