import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

@Suite("A disk as VHD for a host")
struct VHDExportTests {
    @Test("is what we read again, and as long as announced", arguments: [0, 1, 2, 3, 4] as [UInt64])
    func roundTrip(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let size = UInt64.random(in: 1...(12 << 20), using: &random)
        let count = DiskGeometry.blockCount(size)
        let present = (0..<count).filter { _ in Bool.random(using: &random) }
        let disk = SampleDisk(size: size, present: present, seed: seed)
        let export = try await VHDExport.open(disk, uuid: Sample.uuid)
        let maxBytes = Int.random(in: 1000...(3 << 20), using: &random)
        let bytes = try await collect(export, upTo: maxBytes)
        #expect(export.byteCount == UInt64(bytes.count), "seed \(seed)")
        let reader = try await VHDReader.open(BytesSource(bytes))
        #expect(reader.uuid == Sample.uuid)
        #expect(try await collect(reader) == disk, "seed \(seed)")
    }

    @Test("has the structures in the order that hosts expect")
    func layout() async throws {
        let disk = SampleDisk(size: 6 << 20, present: [0, 2], seed: 1)
        let bytes = try await collect(try await VHDExport.open(disk, uuid: Sample.uuid))
        let length: Int = 512 + 1024 + 512 + 2 * (512 + 2_097_152) + 512
        #expect(bytes.count == length)
        let table = big(4, 4) + big(0xffff_ffff, 4) + big(4 + 4097, 4) + big(0xffff_ffff, 4)
        #expect(bytes[1536..<1552].elementsEqual(table))
        #expect(bytes[2048..<2560].allSatisfy { $0 == 0xff })
        #expect(isSame(Array(bytes[2560..<2_099_712]), disk[0]))
        #expect(Array(bytes.prefix(512)) == Array(bytes.suffix(512)))
    }

    @Test(
        "is accepted by qemu-img", .enabled(if: QemuImage.isThere, "skipped: needs qemu-utils"),
        arguments: [1 << 20, 10 << 20, (9 << 20) + 512] as [UInt64])
    func qemu(size: UInt64) async throws {
        let folder = try TemporaryFolder()
        let present = [0, 3, 4].filter { $0 < DiskGeometry.blockCount(size) }
        let disk = SampleDisk(size: size, present: present, seed: size)
        let bytes = try await collect(try await VHDExport.open(disk, uuid: Sample.uuid))
        try Data(bytes).write(to: URL(fileURLWithPath: folder.path + "/disk.vhd"))
        try Data(disk.raw).write(to: URL(fileURLWithPath: folder.path + "/disk.raw"))
        try QemuImage.compare(vhd: folder.path + "/disk.vhd", raw: folder.path + "/disk.raw")
    }

    @Test("costs nothing for what is absent: a table of 64 TiB comes in pieces")
    func large() async throws {
        let disk = SampleDisk(size: 64 << 40, present: [], seed: 1)
        let export = try await VHDExport.open(disk, uuid: Sample.uuid)
        #expect(export.byteCount == 134_219_776)
        var count: UInt64 = 0
        while let piece = try await export.read(upTo: 1 << 20) {
            #expect(piece.count <= 64 << 10)
            count += UInt64(piece.count)
        }
        #expect(count == export.byteCount)
    }

    @Test("fails with the failure of the disk that it reads")
    func failure() async throws {
        struct Broken: DiskView {
            let size: UInt64 = 20 << 20
            func presentBlocks() async throws -> [Int] { Array(0..<10) }
            func block(_ index: Int) async throws -> [UInt8] {
                guard index < 3 else { throw BackupFailure(.corruptData, "block \(index) is broken") }
                return [UInt8](repeating: 1, count: DiskGeometry.blockBytes)
            }
        }
        let export = try await VHDExport.open(Broken(), uuid: Sample.uuid)
        let failure = try await #require(throws: BackupFailure.self) { try await collect(export) }
        #expect(failure.summary == "block 3 is broken")
    }

    @Test("is refused for a disk larger than a VHD can be")
    func tooLarge() async throws {
        let failure = try await #require(throws: BackupFailure.self) {
            try await VHDExport.open(SampleDisk(size: (64 << 40) + 1), uuid: Sample.uuid)
        }
        #expect(failure.kind == .unsupported)
    }
}
