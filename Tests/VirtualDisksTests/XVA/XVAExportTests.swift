import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

@Suite("A machine as XVA for a host")
struct XVAExportTests {
    /// The bytes of a disk from its pieces.
    static func assemble(_ pieces: [XVAPiece], of disk: String, size: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(size))
        for piece in pieces where piece.disk == disk {
            let start = piece.index * XVALimits.pieceBytes
            bytes.replaceSubrange(start..<start + piece.bytes.count, with: piece.bytes)
        }
        return bytes
    }

    @Test("is what we read again, and as long as announced", arguments: [0, 1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        var disks: [SampleDisk] = []
        for _ in 0..<2 {
            let size = UInt64.random(in: 1...(9 << 20), using: &random)
            let present = (0..<DiskGeometry.blockCount(size)).filter { _ in Bool.random(using: &random) }
            disks.append(SampleDisk(size: size, present: present, seed: seed))
        }
        let export = try await XVAExport.open(
            description: Array(HandMadeXVA.description.utf8),
            disks: zip(["Ref:4", "Ref:12"], disks).map { .init(id: $0, content: $1) })
        let bytes = try await collect(export, upTo: Int.random(in: 1000...(3 << 20), using: &random))
        #expect(export.byteCount == UInt64(bytes.count), "seed \(seed)")
        try XVACheckTests.check(bytes, pieces: 100_000)
        let pieces = try await XVAReaderTests.read(BytesSource(bytes))
        for (id, disk) in zip(["Ref:4", "Ref:12"], disks) {
            #expect(isSame(Self.assemble(pieces, of: id, size: disk.size), disk.raw), "seed \(seed)")
            let indexes = pieces.filter { $0.disk == id }.map(\.index)
            #expect(indexes.first == 0 && indexes.last == Int((disk.size - 1) >> 20), "seed \(seed)")
        }
    }

    @Test("leaves out what is absent, but never the first and the last piece of a disk")
    func sparse() async throws {
        let disk = SampleDisk(size: 9 << 20, present: [2], seed: 5)
        let export = try await XVAExport.open(
            description: Array(HandMadeXVA.description.utf8), disks: [.init(id: "Ref:4", content: disk)])
        let pieces = try await XVAReaderTests.read(export)
        #expect(pieces.map(\.index) == [0, 4, 5, 8])
    }

    @Test("is an archive that tar lists")
    func tar() async throws {
        let folder = try TemporaryFolder()
        let export = try await XVAExport.open(
            description: Array(HandMadeXVA.description.utf8),
            disks: [.init(id: "Ref:4", content: SampleDisk(size: (1 << 20) + 700, present: [0], seed: 5))])
        let path = folder.path + "/machine.xva"
        try Data(try await collect(export)).write(to: URL(fileURLWithPath: path))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["tar", "-tf", path]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(
            text == """
                ova.xml
                Ref:4/00000000
                Ref:4/00000000.xxhash
                Ref:4/00000001
                Ref:4/00000001.xxhash

                """)
    }

    @Test("is refused with an id that is no folder of an XVA, and without description")
    func bad() async throws {
        let disk = SampleDisk(size: 1)
        for id in ["", "sda", "Ref:1/..", "Ref:" + String(repeating: "1", count: 40)] {
            await #expect(throws: BackupFailure.self) {
                try await XVAExport.open(description: [1], disks: [.init(id: id, content: disk)])
            }
        }
        await #expect(throws: BackupFailure.self) { try await XVAExport.open(description: [], disks: []) }
    }
}
