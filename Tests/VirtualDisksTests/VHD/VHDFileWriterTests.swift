import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

@Suite("A new VHD file")
struct VHDFileWriterTests {
    /// Writes the blocks of a disk in the given order.
    static func write(
        _ disk: SampleDisk, order: [Int], uuid: DiskUUID = Sample.uuid, parent: VHDFileWriter.Parent? = nil,
        to file: MemoryFile
    ) async throws {
        let writer = try await VHDFileWriter.create(file, name: "new.vhd", size: disk.size, uuid: uuid, parent: parent)
        for index in order { try await writer.write(DiskBlock(index: index, bytes: disk[index])) }
        let count = try await writer.finish()
        #expect(count == UInt64(file.bytes.count))
    }

    @Test("holds what was written in any order", arguments: [1, 2, 3, 4, 5] as [UInt64])
    func roundTrip(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let size = UInt64.random(in: 1...(11 << 20), using: &random)
        let present = (0..<DiskGeometry.blockCount(size)).filter { _ in Bool.random(using: &random) }
        let disk = SampleDisk(size: size, present: present, seed: seed)
        let file = MemoryFile()
        try await Self.write(disk, order: present.shuffled(using: &random), to: file)

        let opened = try await VHDFile.open(file, name: "new.vhd", .strict)
        #expect(await opened.uuid == Sample.uuid)
        #expect(await opened.presentBlocks == present, "seed \(seed)")
        #expect(try await shows(try await VHDChain.open([opened]), disk), "seed \(seed)")
        #expect(try await collect(try await VHDReader.open(BytesSource(file.bytes))) == disk, "seed \(seed)")
    }

    @Test("names its parent")
    func differencing() async throws {
        let disk = SampleDisk(size: 9 << 20, present: [1], seed: 3)
        let file = MemoryFile()
        let parent = VHDFileWriter.Parent(uuid: Sample.otherUUID, name: "20240101T000000Z.vhd")
        try await Self.write(disk, order: [1], parent: parent, to: file)
        let opened = try await VHDFile.open(file, name: "new.vhd", .strict)
        #expect(await opened.parentUUID == Sample.otherUUID)
        #expect(await opened.header.parentName == "20240101T000000Z.vhd")
        #expect(await opened.isDifferencing)
        await #expect(throws: BackupFailure.self) { try await VHDChain.open([opened]) }
    }

    @Test("takes no room for zeros: absent where the disk is whole, a hole where it is a difference")
    func sparse() async throws {
        var disk = SampleDisk(size: 6 << 20)
        disk[0] = [UInt8](repeating: 0, count: DiskGeometry.blockBytes)
        disk[1] = disk[0]
        disk[1][1_000_000] = 7
        for isWhole in [true, false] {
            let file = MemoryFile()
            let parent = VHDFileWriter.Parent(uuid: Sample.otherUUID, name: "a.vhd")
            try await Self.write(disk, order: [0, 1], parent: isWhole ? nil : parent, to: file)
            #expect(file.writtenBytes < 40 << 10)
            let opened = try await VHDFile.open(file, name: "new.vhd", .strict)
            #expect(await opened.presentBlocks == (isWhole ? [1] : [0, 1]))
            #expect(isSame(try #require(try await opened.block(1)).bytes, disk[1]))
        }
    }

    @Test("is nothing that opens before it is finished, however it is broken off")
    func brokenOff() async throws {
        let disk = SampleDisk(size: 5 << 20, present: [0, 2], seed: 3)
        let whole = MemoryFile()
        try await Self.write(disk, order: [2, 0], to: whole)
        var random = SeededRandom(seed: 11)
        for step in 1...whole.changeCount {
            let file = MemoryFile(breakAt: step)
            await #expect(throws: MemoryFile.Broken.self) { try await Self.write(disk, order: [2, 0], to: file) }
            for bytes in [file.bytes, file.afterLoss(&random), file.afterLoss(&random)] {
                for strictness in [VHDFile.Strictness.strict, .lenient] {
                    guard let opened = try? await VHDFile.open(MemoryFile(bytes), name: "new.vhd", strictness) else {
                        continue
                    }
                    #expect(try await shows(try await VHDChain.open([opened]), disk), "step \(step)")
                }
            }
        }
    }

    @Test("refuses a block behind its end, a block twice, a disk or a name that is too long")
    func bad() async throws {
        let writer = try await VHDFileWriter.create(MemoryFile(), name: "a.vhd", size: 3 << 20, uuid: Sample.uuid)
        let bytes = Sample.block(seed: 1)
        try await writer.write(DiskBlock(index: 1, bytes: bytes))
        for index in [-1, 1, 2, 1 << 40] {
            await #expect(throws: BackupFailure.self) { try await writer.write(DiskBlock(index: index, bytes: bytes)) }
        }
        await #expect(throws: BackupFailure.self) { try await writer.write(DiskBlock(index: 0, bytes: [1])) }
        await #expect(throws: BackupFailure.self) {
            try await VHDFileWriter.create(MemoryFile(), name: "a.vhd", size: (64 << 40) + 1, uuid: Sample.uuid)
        }
        await #expect(throws: BackupFailure.self) {
            try await VHDFileWriter.create(
                MemoryFile(), name: "a.vhd", size: 1, uuid: Sample.uuid,
                parent: .init(uuid: Sample.otherUUID, name: String(repeating: "ä", count: 257)))
        }
    }
}

@Suite("A VHD file", .enabled(if: QemuImage.isThere, "skipped: needs qemu-utils"))
struct VHDFileQemuTests {
    @Test("that we write is what qemu-img reads", arguments: [512, 5 << 20, (300 << 20) + 512] as [UInt64])
    func ours(size: UInt64) async throws {
        let folder = try TemporaryFolder()
        let present = [0, 1, 149].filter { $0 < DiskGeometry.blockCount(size) }
        let disk = SampleDisk(size: size, present: present, seed: size)
        let file = MemoryFile()
        try await VHDFileWriterTests.write(disk, order: present.reversed(), to: file)
        try await Self.compare(file, disk, in: folder)
    }

    @Test("that is a difference is one to qemu-img, too")
    func difference() async throws {
        let folder = try TemporaryFolder()
        let disk = SampleDisk(size: 10 << 20, present: [3], seed: 4)
        let file = MemoryFile()
        let parent = VHDFileWriter.Parent(uuid: Sample.otherUUID, name: "parent.vhd")
        try await VHDFileWriterTests.write(disk, order: [3], parent: parent, to: file)
        // It knows no parents of VHDs: what the file does not hold are zeros to it.
        try await Self.compare(file, disk, in: folder)
    }

    @Test("that qemu-img writes is what we read", arguments: [512, 5 << 20, (9 << 20) + 1536] as [UInt64])
    func theirs(size: UInt64) async throws {
        let folder = try TemporaryFolder()
        let present = [0, 2, 4].filter { $0 < DiskGeometry.blockCount(size) }
        let disk = SampleDisk(size: size, present: present, seed: size)
        let (raw, vhd) = (folder.path + "/disk.raw", folder.path + "/disk.vhd")
        try Data(disk.raw).write(to: URL(fileURLWithPath: raw))
        try QemuImage.run(
            "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, vhd)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: vhd)))
        let opened = try await VHDFile.open(MemoryFile(bytes), name: "disk.vhd", .strict)
        #expect(try await shows(try await VHDChain.open([opened]), disk))
        let read = try await collect(try await VHDReader.open(BytesSource(bytes)))
        #expect(read.size == size)
        #expect(isSame(read.raw, disk.raw))
    }

    @Test("that qemu-img made empty is an empty disk to us, of the size that it says")
    func created() async throws {
        let folder = try TemporaryFolder()
        let vhd = folder.path + "/disk.vhd"
        try QemuImage.run("create", "-f", "vpc", vhd, "700M")
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: vhd)))
        let opened = try await VHDFile.open(MemoryFile(bytes), name: "disk.vhd", .strict)
        #expect(await opened.presentBlocks == [])
        #expect(await opened.size == (try QemuImage.size(of: vhd)))
    }

    /// Writes both as files; the raw one with holes.
    static func compare(_ file: MemoryFile, _ disk: SampleDisk, in folder: TemporaryFolder) async throws {
        let (raw, vhd) = (folder.path + "/disk.raw", folder.path + "/disk.vhd")
        try Data(file.bytes).write(to: URL(fileURLWithPath: vhd))
        try Data().write(to: URL(fileURLWithPath: raw))
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: raw))
        for (index, bytes) in disk.blocks {
            try handle.seek(toOffset: UInt64(index) * UInt64(DiskGeometry.blockBytes))
            try handle.write(contentsOf: Data(bytes))
        }
        try handle.truncate(atOffset: disk.size)
        try handle.close()
        try QemuImage.compare(vhd: vhd, raw: raw)
    }
}
