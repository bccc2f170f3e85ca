import BackupFormats
import Testing
import VirtualDisks

@testable import XenBackup

@Suite("A full backup in a chunk store")
struct ChunkStoreMachineTests {
    private static let start: Int64 = 1_700_000_000_000
    private static let machine = ChunkStoreWorld.machine

    /// `ova.xml` with these disks.
    static func description(_ disks: [(id: String, uuid: String, size: Int)]) -> [UInt8] {
        func member(_ name: String, _ value: String) -> String {
            "<member><name>\(name)</name><value>\(value)</value></member>"
        }
        let objects = disks.map { disk in
            let snapshot = member("uuid", disk.uuid) + member("virtual_size", String(disk.size))
            return "<value><struct>" + member("class", "VDI") + member("id", disk.id)
                + member("snapshot", "<struct>\(snapshot)</struct>") + "</struct></value>"
        }
        let list = member("objects", "<array><data>\(objects.joined())</data></array>")
        return Array("<?xml version=\"1.0\"?><value><struct>\(list)</struct></value>".utf8)
    }

    /// The export of a machine with these disks.
    static func export(_ disks: [(id: String, disk: TestDisk)]) async throws -> [UInt8] {
        let text = description(disks.map { ($0.id, $0.disk.liveUUID, $0.disk.bytes.count) })
        let export = try await XVAExport.open(
            description: text, disks: disks.map { XVAExport.Disk(id: $0.id, content: MemoryView($0.disk)) })
        return try await collect(export)
    }

    private func backup(_ xva: [UInt8], in repository: any XenRepository, at timestamp: Int64) async throws -> String {
        let target = try await repository.target(for: Self.machine)
        let writer = try await target.begin(
            VMBackupPlan(mode: .full, jobID: "job-1", scheduleID: "sch-1", timestamp: timestamp))
        do {
            let source = RaggedSource(xva, seed: 7)
            #expect(try await writer.write(xva: source, maxByteCount: 1 << 40) == UInt64(xva.count))
            let id = try await writer.commit(
                ChunkStoreWorld.metadata(
                    [], machine: Self.machine, timestamp: timestamp, scheduleID: "sch-1", mode: "full"))
            await target.release()
            return id
        } catch {
            await writer.abort()
            await target.release()
            throw error
        }
    }

    private func restored(_ id: String, in repository: any XenRepository) async throws -> [UInt8] {
        let reader = try await repository.openBackup(id)
        let (stream, byteCount) = try await reader.xva()
        let bytes = try await collect(stream)
        #expect(byteCount == nil || byteCount == UInt64(bytes.count))
        await reader.close()
        return bytes
    }

    @Test("keeps each disk as an image and makes the same export of them again")
    func perDisk() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var first = TestDisk("disk-a", byteCount: (9 << 20) + 512, seed: 41)
        first.clear(2)
        first.clear(3)
        let second = TestDisk("disk-b", zeros: 6 << 20)
        let xva = try await Self.export([("Ref:3", first), ("Ref:12", second)])
        let id = try await backup(xva, in: repository, at: Self.start)
        #expect(try await restored(id, in: repository) == xva)
        let metadata = try #require(try await repository.vmBackups(of: nil)[Self.machine]?.first?.metadata)
        #expect(metadata.mode == "full" && metadata.size == Int64(xva.count))
        #expect(metadata.json["xva"]?.stringValue == "./20231114T221320Z.xva")
        // The same disk in a delta backup brings nothing new.
        let delta = try await world.backup([first.send()], in: repository, at: Self.start + 3_600_000)
        let backups = try #require(try await repository.vmBackups(of: nil)[Self.machine])
        #expect(backups.first { $0.id == delta }?.metadata.json["chunkStore"]?["newChunks"]?.intValue == 0)
        await repository.close()
    }

    @Test("keeps a compressed export as it came")
    func compressed() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        let xva = [0x1f, 0x8b] + TestDisk("x", byteCount: 5 << 20, seed: 42).bytes
        let id = try await backup(xva, in: repository, at: Self.start)
        #expect(try await restored(id, in: repository) == xva)
        await repository.close()
    }

    @Test("is refused where the export was cut, and leaves nothing")
    func cut() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        let xva = try await Self.export([("Ref:3", TestDisk("disk-a", byteCount: 5 << 20, seed: 43))])
        await #expect(throws: BackupFailure.self) {
            try await backup(Array(xva.prefix(3 << 20)), in: repository, at: Self.start)
        }
        #expect(try await repository.vmBackups(of: nil).isEmpty)
        #expect(try world.staged() == [])
        await repository.close()
    }
}

@Suite("Metadata backups in a chunk store")
struct ChunkStoreMetadataTests {
    private static let schedule = "a2f4b1c0-0f6e-4c3c-8a52-1d2e3f405161"
    private static let pool = "5f6a3f8a-97c4-4d2a-9d1a-0c9d2c2e1b01"

    private func write(
        _ kind: MetadataKind, _ data: [UInt8], _ dataName: String, at seconds: Int64, retention: Int = 10,
        in repository: any XenRepository
    ) async throws {
        try await repository.writeMetadataBackup(
            MetadataBackup(
                kind: kind, scheduleID: Self.schedule, poolUUID: kind == .pool ? Self.pool : nil,
                timestamp: seconds * 1000,
                metadata: [
                    "jobId": "job-1", "scheduleId": .string(Self.schedule), "timestamp": .integer(seconds * 1000),
                ],
                dataName: dataName, data: RaggedSource(data, seed: 5), retention: retention))
    }

    @Test(
        "come back as they were, small and large",
        arguments: [(MetadataKind.orchestra, 10), (.orchestra, 9 << 20), (.pool, 10), (.pool, 3 << 20)])
    func roundTrip(kind: MetadataKind, byteCount: Int) async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        let data = TestDisk("x", byteCount: byteCount, seed: 51).bytes
        let dataName = kind == .orchestra ? "data.json" : "data"
        try await write(kind, data, dataName, at: 1_700_000_000, in: repository)
        let listed = try await repository.metadataBackups(kind)
        let place = kind == .orchestra ? Self.schedule : "\(Self.schedule)/\(Self.pool)"
        let id = "/\(kind.rawValue)/\(place)/20231114T221320Z"
        #expect(listed.map { $0["id"]?.stringValue } == [id])
        #expect(listed.first?["jobId"]?.stringValue == "job-1")
        let other: MetadataKind = kind == .orchestra ? .pool : .orchestra
        #expect(try await repository.metadataBackups(other).isEmpty)
        let read = try await repository.readMetadataBackup(String(id.dropFirst()))
        #expect(read.dataName == dataName)
        #expect(read.metadata["scheduleId"]?.stringValue == Self.schedule)
        #expect(try await collect(read.data) == data)
        try await repository.deleteMetadataBackup(id)
        #expect(try await repository.metadataBackups(kind).isEmpty)
        await repository.close()
    }

    @Test("are kept as many as asked for, and ids of another form are refused")
    func retention() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        for number in 0..<4 {
            try await write(
                .pool, Array("dump \(number)".utf8), "data", at: 1_700_000_000 + Int64(number), retention: 2,
                in: repository)
        }
        let listed = try await repository.metadataBackups(.pool)
        #expect(listed.compactMap { $0["timestamp"]?.intValue } == [1_700_000_002_000, 1_700_000_003_000])
        for id in [
            "/xo-config-backups/../x/20231114T221320Z", "/xo-vm-backups/a/20231114T221320Z", "", "/xo-config-backups",
        ] {
            await #expect(throws: BackupFailure.self) { try await repository.deleteMetadataBackup(id) }
        }
        await repository.close()
    }
}

/// A disk in memory.
struct MemoryView: DiskView {
    let disk: TestDisk

    init(_ disk: TestDisk) { self.disk = disk }

    var size: UInt64 { UInt64(disk.bytes.count) }
    func presentBlocks() async throws -> [Int] { disk.presentBlocks }
    func block(_ index: Int) async throws -> [UInt8] { disk.blockBytes(index) }
}
