import BackupFormats
import Synchronization
import Testing
import VirtualDisks

@testable import XenBackup

@Suite("A chunk store")
struct ChunkStoreDeltaTests {
    private static let megabyte = 1 << 20
    private static let hour: Int64 = 3_600_000
    private static let start: Int64 = 1_700_000_000_000

    /// What the metadata says about the chunks of a backup.
    private func counts(_ id: String, in repository: any XenRepository) async throws -> (new: Int64, reused: Int64) {
        let backups = try await repository.vmBackups(of: ChunkStoreWorld.machine)[ChunkStoreWorld.machine] ?? []
        let backup = try #require(backups.first { $0.id == id })
        let counts = try #require(backup.metadata.json["chunkStore"])
        return (try #require(counts["newChunks"]?.intValue), try #require(counts["reusedChunks"]?.intValue))
    }

    @Test("keeps a whole disk and gives it back, of any length", arguments: [1, 2 << 20, (9 << 20) + 12345])
    func whole(byteCount: Int) async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: byteCount, seed: 1)
        let id = try await world.backup([disk.send()], in: repository, at: Self.start)
        #expect(id == "/xo-vm-backups/\(ChunkStoreWorld.machine)/20231114T221320Z.json")
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        await repository.close()
    }

    @Test("takes no new chunk for a machine that has not changed (C80)")
    func unchanged() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 10 * Self.megabyte, seed: 2)
        let first = try await world.backup([disk.send()], in: repository, at: Self.start)
        let second = try await world.backup([disk.send()], in: repository, at: Self.start + Self.hour)
        let third = try await world.backup([disk.send(isDelta: true)], in: repository, at: Self.start + 2 * Self.hour)
        #expect(try await counts(first, in: repository).new == 3)
        #expect(try await counts(second, in: repository) == (0, 3))
        #expect(try await counts(third, in: repository).new == 0)
        for id in [first, second, third] {
            #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        }
        await repository.close()
    }

    @Test("shares the chunks of two machines of one template (C81)")
    func template() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var one = TestDisk("disk-a", byteCount: 12 * Self.megabyte, seed: 3)
        var other = TestDisk("disk-b", byteCount: 12 * Self.megabyte, seed: 3)
        other.change(2, seed: 4)
        try await world.backup([one.send()], in: repository, at: Self.start)
        let machine = "7b1f1a52-5a3e-4a64-8f0e-3c1c5c0f4b02"
        try await world.backup([other.send()], in: repository, at: Self.start, machine: machine)
        let backup = try #require(try await repository.vmBackups(of: nil)[machine]?.first)
        #expect(backup.metadata.json["chunkStore"]?["newChunks"]?.intValue == 1)
        #expect(backup.metadata.json["chunkStore"]?["reusedChunks"]?.intValue == 2)
        await repository.close()
    }

    @Test(
        "puts single blocks, pairs and zeros into what was there, in any order (C82)",
        arguments: zip([true, false], [false, true]))
    func halves(announces: Bool, isReversed: Bool) async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        // 21 blocks: the last chunk has one, and a short one.
        var disk = TestDisk("disk-a", byteCount: 41 * Self.megabyte + 777, seed: 5)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        let before = disk.bytes
        for index in [0, 3, 4, 5, 10, 13, 14, 17, 20] { disk.change(index, seed: UInt64(100 + index)) }
        for index in [6, 7, 9] { disk.clear(index) }
        // Both halves of a chunk far apart, and more lone ones than memory holds.
        let ascending = disk.changed.sorted()
        let order = isReversed ? Array(ascending.reversed()) : [5] + ascending.filter { $0 != 5 }
        let sent = disk.send(isDelta: true, order: order, announces: announces)
        let id = try await world.backup([sent], in: repository, at: Self.start + Self.hour)
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        #expect(disk.bytes != before)
        // Chunks 0, 1, 2, 4, 5, 6, 7, 8, 10 are new; chunk 3 is zeros.
        #expect(try await counts(id, in: repository).new == 10)
        let old = "/xo-vm-backups/\(ChunkStoreWorld.machine)/20231114T221320Z.json"
        #expect(try await world.restore(old, "OpaqueRef:disk-a", in: repository) == before)
        await repository.close()
    }

    @Test(
        "follows a disk that grows", arguments: [(5, 7), (8, 13), (3, 4)])
    func growth(old: Int, new: Int) async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: old * Self.megabyte + 512, seed: 6)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        disk.grow(to: new * Self.megabyte + 1024)
        disk.change(DiskGeometry.blockCount(UInt64(disk.bytes.count)) - 1, seed: 8)
        disk.change(0, seed: 9)
        let id = try await world.backup([disk.send(isDelta: true)], in: repository, at: Self.start + Self.hour)
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        disk.change(1, seed: 10)
        let last = try await world.backup([disk.send(isDelta: true)], in: repository, at: Self.start + 2 * Self.hour)
        #expect(try await world.restore(last, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        await repository.close()
    }

    @Test("keeps ten changes in a row, whatever is removed of them (C83)")
    func chain() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 11 * Self.megabyte, seed: 11)
        var states: [(id: String, bytes: [UInt8])] = []
        for number in 0..<10 {
            if number > 0 {
                disk.change(number % 6, seed: UInt64(200 + number))
                disk.change((number * 5) % 6, seed: UInt64(300 + number))
            }
            let id = try await world.backup(
                [disk.send(isDelta: number > 0)], in: repository, at: Self.start + Int64(number) * Self.hour)
            states.append((id, disk.bytes))
        }
        let removed = [0, 3, 4, 9]
        try await repository.deleteVMBackups(removed.map { states[$0].id }, task: ChunkStoreWorld.task())
        #expect(try await world.collectAndVerify() == [])
        for (number, state) in states.enumerated() {
            if removed.contains(number) {
                await #expect(throws: BackupFailure.self) { try await repository.openBackup(state.id) }
            } else {
                #expect(try await world.restore(state.id, "OpaqueRef:disk-a", in: repository) == state.bytes)
            }
        }
        await repository.close()
    }

    @Test("builds on any finished backup, not only on the newest")
    func olderBase() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 9 * Self.megabyte, seed: 12)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        // Another job backs the machine up in between, from a state of its own.
        var other = disk
        other.change(1, seed: 13)
        try await world.backup([other.send(isDelta: true)], in: repository, at: Self.start + 1, scheduleID: "sch-2")
        disk.change(3, seed: 14)
        let id = try await world.backup([disk.send(isDelta: true)], in: repository, at: Self.start + Self.hour)
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        let backups = try await repository.vmBackups(of: ChunkStoreWorld.machine)[ChunkStoreWorld.machine]
        #expect(backups?.count == 3)
        #expect(Set(backups?.map(\.id) ?? []).count == 3)
        await repository.close()
    }

    @Test("asks for a whole disk where it has not the base")
    func missingBase() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 5 * Self.megabyte, seed: 15)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        let target = try await repository.target(for: ChunkStoreWorld.machine)
        #expect(try await target.disksWithBase(["disk-a": disk.uuid(1)], jobID: "other") == ["disk-a"])
        #expect(try await target.disksWithBase(["disk-a": disk.uuid(7)], jobID: "job-1") == [])
        #expect(try await target.disksWithBase(["disk-b": disk.uuid(1)], jobID: "job-1") == [])
        let writer = try await target.begin(
            VMBackupPlan(mode: .delta, jobID: "job-1", scheduleID: "sch-1", timestamp: Self.start + Self.hour))
        disk.change(0, seed: 16)
        let sent = disk.send(isDelta: true)
        await #expect(throws: BackupFailure.self) { try await writer.write(disk: sent.description, from: sent.source) }
        await writer.abort()
        await target.release()
        #expect(try world.staged() == [])
        await repository.close()
    }

    @Test("loses nothing that a running backup needs to a garbage collection (C84)")
    func collectionMeanwhile() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 13 * Self.megabyte, seed: 17)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        for index in [0, 3, 6] { disk.change(index, seed: UInt64(400 + index)) }
        let sent = disk.send(isDelta: true)
        let target = try await repository.target(for: ChunkStoreWorld.machine)
        #expect(try await target.disksWithBase(["disk-a": disk.uuid(1)], jobID: "job-1") == ["disk-a"])
        let writer = try await target.begin(
            VMBackupPlan(mode: .delta, jobID: "job-1", scheduleID: "sch-1", timestamp: Self.start + Self.hour))
        _ = try await writer.write(disk: sent.description, from: sent.source)
        _ = try await world.collectAndVerify()
        let id = try await writer.commit(
            ChunkStoreWorld.metadata(
                [sent], machine: ChunkStoreWorld.machine, timestamp: Self.start + Self.hour, scheduleID: "sch-1"))
        await target.release()
        #expect(try await world.collectAndVerify() == [])
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        await repository.close()
    }

    @Test("leaves nothing of a backup whose source breaks")
    func brokenSource() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        let disk = TestDisk("disk-a", byteCount: 9 * Self.megabyte, seed: 18)
        let source = BlockSource(
            [DiskBlock(index: 0, bytes: disk.blockBytes(0)), DiskBlock(index: 1, bytes: disk.blockBytes(1))],
            size: UInt64(disk.bytes.count), isDifferencing: false,
            failure: BackupFailure(.unavailable, "the transfer was cut"))
        let sent = SentDisk(
            reference: "OpaqueRef:1", liveUUID: "disk-a", uuid: "x", baseUUID: nil, source: source)
        let failure = await #expect(throws: BackupFailure.self) {
            try await world.backup([sent], in: repository, at: Self.start)
        }
        #expect(failure?.summary == "the transfer was cut")
        #expect(try world.staged() == [])
        #expect(try await repository.vmBackups(of: nil).isEmpty)
        await repository.close()
    }
}
