import BackupClient
import BackupFormats
import BackupProtocol
import Datastore
import Foundation
import Testing
import VirtualDisks

@testable import XenBackup

@Suite("A chunk store as a remote")
struct ChunkStoreRepositoryTests {
    private static let megabyte = 1 << 20
    private static let hour: Int64 = 3_600_000
    private static let start: Int64 = 1_700_000_000_000
    private static let machine = ChunkStoreWorld.machine

    // MARK: Addresses

    @Test(
        "is named by a path",
        arguments: [
            ("/chunkstore/main", "/chunkstore/main"), ("chunkstore/main/", "/chunkstore/main"),
            ("/chunkstore/main/xo/team", "/chunkstore/main/xo/team"),
            ("/chunkstore/@site2/main/xo", "/chunkstore/@site2/main/xo"),
        ])
    func address(path: String, expected: String) throws {
        let address = try #require(try ChunkStoreAddress(path: path))
        #expect(address.description == expected)
        #expect(try ChunkStoreAddress(path: address.description) == address)
    }

    @Test("is not named by other paths", arguments: ["/", "", "/mnt/chunkstore/main", "/chunkstores/main"])
    func otherPaths(path: String) throws { #expect(try ChunkStoreAddress(path: path) == nil) }

    @Test(
        "refuses paths that name no datastore",
        arguments: ["/chunkstore", "/chunkstore/@site2", "/chunkstore/@/main", "/chunkstore/-x", "/chunkstore/a/.."])
    func badPaths(path: String) {
        #expect(throws: BackupFailure.self) { try ChunkStoreAddress(path: path) }
    }

    @Test("says which datastores, namespaces and remotes there are")
    func unknownNames() async throws {
        let world = try ChunkStoreWorld()
        try world.store.createNamespace(try Namespace(parsing: "xo"))
        for (path, known) in [
            ("/chunkstore/other", "'main'"), ("/chunkstore/main/nothing", "'xo'"),
            ("/chunkstore/@site9/main", "'site2'"),
        ] {
            let failure = await #expect(throws: BackupFailure.self) { try await world.open(path) }
            #expect(failure?.summary.contains(known) == true, "\(failure?.summary ?? "")")
        }
    }

    @Test("is found in the folder of a datastore, by its path or by its mark")
    func folders() throws {
        let world = try ChunkStoreWorld()
        let folder = world.folder.appending(path: "store").path
        #expect(try world.stores.address(ofFolder: folder) == ChunkStoreAddress(datastore: "main"))
        #expect(try world.stores.address(ofFolder: world.folder.path) == nil)
        let mount = world.folder.appending(path: "mount")
        try FileManager.default.createDirectory(
            at: mount.appending(path: ".chunks"), withIntermediateDirectories: true)
        #expect(try world.stores.address(ofFolder: mount.path) == nil)
        let mark = mount.appending(path: ChunkStores.markerFile)
        try Data(#"{"datastore": "main"}"#.utf8).write(to: mark)
        #expect(try world.stores.address(ofFolder: mount.path) == ChunkStoreAddress(datastore: "main"))
        try Data(#"{"datastore": "gone"}"#.utf8).write(to: mark)
        #expect(throws: BackupFailure.self) { try world.stores.address(ofFolder: mount.path) }
    }

    // MARK: The remote itself

    @Test("tests itself and leaves no snapshot behind", arguments: ["/chunkstore/main", "/chunkstore/@site2/main"])
    func selfTest(path: String) async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open(path)
        let result = await repository.test()
        #expect(result["success"]?.boolValue == true, "\(result)")
        #expect((result["writeRate"]?.intValue ?? 0) > 0 && (result["readRate"]?.intValue ?? 0) > 0)
        #expect(try world.store.snapshots(in: .root).isEmpty)
        let info = try await repository.info()
        #expect(info.members.map(\.name) == ["size", "used", "available"])
        await repository.close()
    }

    @Test("tells a failure of its test with the step")
    func failedTest() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        world.fault.arm(0)
        let result = await repository.test()
        #expect(result["success"]?.boolValue == false)
        #expect(result["step"]?.stringValue == "write")
        #expect(result["error"]?["message"]?.stringValue?.isEmpty == false)
        await repository.close()
    }

    @Test("tells what backups take, with and without what they share")
    func totalSize() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 8 * Self.megabyte, seed: 21)
        for number in 0..<3 {
            try await world.backup([disk.send()], in: repository, at: Self.start + Int64(number) * Self.hour)
        }
        let size = try await repository.totalBackupSize()
        #expect(size["onDisk"]?.intValue == Int64(3 * 8 * Self.megabyte))
        let deduplicated = try #require(size["deduplicated"]?.intValue)
        #expect(deduplicated > 0 && deduplicated < 8 * Self.megabyte)
        await repository.close()
    }

    // MARK: Listing

    @Test("lists backups as Xen Orchestra knows them")
    func listing() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 4 * Self.megabyte, seed: 22)
        try await world.backup([disk.send()], in: repository, at: Self.start + 999)
        disk.change(0, seed: 23)
        // In the same second: the next free one is taken, and the true time stays.
        try await world.backup([disk.send(isDelta: true)], in: repository, at: Self.start + 5)
        let backups = try #require(try await repository.vmBackups(of: Self.machine)[Self.machine])
        #expect(
            backups.map(\.id) == [
                "/xo-vm-backups/\(Self.machine)/20231114T221321Z.json",
                "/xo-vm-backups/\(Self.machine)/20231114T221320Z.json",
            ])
        #expect(backups.map(\.metadata.timestamp) == [Self.start + 5, Self.start + 999])
        let delta = backups[0].metadata
        #expect(delta.mode == "delta" && delta.jobID == "job-1" && delta.scheduleID == "sch-1")
        #expect(delta.size == Int64(2 * Self.megabyte))
        #expect(
            delta.vhds["OpaqueRef:disk-a"]?.stringValue == "vdis/job-1/disk-a/20231114T221321Z.vhd")
        #expect(delta.json["isVhdDifferencing"]?["OpaqueRef:disk-a"]?.boolValue == true)
        #expect(backups[1].metadata.json["isVhdDifferencing"]?["OpaqueRef:disk-a"]?.boolValue == false)
        let place = try #require(delta.json["chunkStore"])
        #expect(place["datastore"]?.stringValue == "main" && place["namespace"]?.stringValue == "")
        #expect(place["snapshot"]?.stringValue == "vm/\(Self.machine)/2023-11-14T22:13:21Z")
        #expect(try await repository.vmBackups(of: "7b1f1a52-5a3e-4a64-8f0e-3c1c5c0f4b02").isEmpty)
        await repository.close()
    }

    @Test("is the same for two that write to it, one of them from elsewhere (C88)")
    func twoWriters() async throws {
        let world = try ChunkStoreWorld()
        let (near, far) = (try await world.open(), try await world.open("/chunkstore/@site2/main"))
        var disk = TestDisk("disk-a", byteCount: 6 * Self.megabyte + 5, seed: 24)
        var states: [[UInt8]] = []
        for (number, repository) in [near, far, near, far].enumerated() {
            if number > 0 { disk.change(number % 3, seed: UInt64(500 + number)) }
            try await world.backup(
                [disk.send(isDelta: number > 0)], in: repository, at: Self.start + Int64(number) * Self.hour)
            states.append(disk.bytes)
            let here = try await near.vmBackups(of: nil)[Self.machine] ?? []
            let there = try await far.vmBackups(of: Self.machine)[Self.machine] ?? []
            #expect(here.map(\.id) == there.map(\.id) && here.count == number + 1)
            #expect(here.map(\.metadata) == there.map(\.metadata))
        }
        let backups = try #require(try await far.vmBackups(of: nil)[Self.machine])
        for (backup, state) in zip(backups, states) {
            #expect(try await world.restore(backup.id, "OpaqueRef:disk-a", in: far) == state)
        }
        // What one removes, the other no longer lists.
        try await far.deleteVMBackups([backups[1].id], task: ChunkStoreWorld.task())
        #expect(try await near.vmBackups(of: nil)[Self.machine]?.map(\.id) == [0, 2, 3].map { backups[$0].id })
        #expect(try await world.restore(backups[3].id, "OpaqueRef:disk-a", in: near) == states[3])
        await near.close()
        await far.close()
    }

    @Test("builds elsewhere on the newest backup only, and asks for whole disks otherwise")
    func basesElsewhere() async throws {
        let world = try ChunkStoreWorld()
        let far = try await world.open("/chunkstore/@site2/main")
        var disk = TestDisk("disk-a", byteCount: 5 * Self.megabyte, seed: 25)
        try await world.backup([disk.send()], in: far, at: Self.start)
        let first = disk.uuid(1)
        disk.change(1, seed: 26)
        try await world.backup([disk.send(isDelta: true)], in: far, at: Self.start + Self.hour)
        let target = try await far.target(for: Self.machine)
        #expect(try await target.disksWithBase(["disk-a": first], jobID: "job-1") == [])
        #expect(try await target.disksWithBase(["disk-a": disk.uuid(2)], jobID: "job-1") == ["disk-a"])
        await target.release()
        await far.close()
    }

    @Test("lets one run at a time work on a machine")
    func lock() async throws {
        let world = try ChunkStoreWorld(lockPatience: .milliseconds(50))
        let repository = try await world.open()
        let target = try await repository.target(for: Self.machine)
        let failure = await #expect(throws: BackupFailure.self) { try await repository.target(for: Self.machine) }
        #expect(failure?.kind == .conflict)
        #expect(failure?.summary == "Lock file is already being held")
        await target.release()
        let next = try await repository.target(for: Self.machine)
        await next.release()
        await repository.close()
    }

    // MARK: Removal

    @Test("keeps as many backups of a schedule as it is told (C43)")
    func retention() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 3 * Self.megabyte, seed: 27)
        for number in 0..<4 {
            for schedule in ["sch-1", "sch-2"] {
                try await world.backup(
                    [disk.send()], in: repository, at: Self.start + Int64(number) * Self.hour, scheduleID: schedule,
                    retention: RetentionRule(count: schedule == "sch-1" ? 2 : 3))
            }
        }
        let backups = try #require(try await repository.vmBackups(of: nil)[Self.machine])
        #expect(backups.count { $0.metadata.scheduleID == "sch-1" } == 2)
        #expect(backups.count { $0.metadata.scheduleID == "sch-2" } == 3)
        #expect(backups.first { $0.metadata.scheduleID == "sch-1" }?.metadata.timestamp == Self.start + 2 * Self.hour)
        await repository.close()
    }

    @Test("leaves protected backups alone, and does not count them")
    func protection() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 1 << 20, seed: 33)
        for number in 0..<4 {
            try await world.backup(
                [disk.send()], in: repository, at: Self.start + Int64(number) * Self.hour,
                retention: RetentionRule(count: 2))
            guard number == 0 else { continue }
            let first = try #require(try world.store.snapshots(in: .root).first?.name)
            try world.store.setProtected(true, first, in: .root)
        }
        let backups = try #require(try await repository.vmBackups(of: nil)[Self.machine])
        #expect(backups.map(\.metadata.timestamp) == [0, 2, 3].map { Self.start + $0 * Self.hour })
        #expect(backups.map(\.isImmutable) == [true, false, false])
        await repository.close()
    }

    @Test("keeps the base until the backup that is built on it is there, where old ones go first")
    func deleteFirst() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 5 * Self.megabyte, seed: 28)
        try await world.backup([disk.send()], in: repository, at: Self.start)
        disk.change(2, seed: 29)
        let base = disk.uuid(1)
        let sent = disk.send(isDelta: true)
        let target = try await repository.target(for: Self.machine)
        #expect(try await target.disksWithBase(["disk-a": base], jobID: "job-1") == ["disk-a"])
        try await target.applyRetention(
            RetentionRule(count: 1), mode: .delta, scheduleID: "sch-1", isBefore: true, task: ChunkStoreWorld.task())
        let writer = try await target.begin(
            VMBackupPlan(mode: .delta, jobID: "job-1", scheduleID: "sch-1", timestamp: Self.start + Self.hour))
        _ = try await writer.write(disk: sent.description, from: sent.source)
        let id = try await writer.commit(
            ChunkStoreWorld.metadata(
                [sent], machine: Self.machine, timestamp: Self.start + Self.hour, scheduleID: "sch-1"))
        await target.release()
        #expect(try await repository.vmBackups(of: nil)[Self.machine]?.map(\.id) == [id])
        #expect(try await world.restore(id, "OpaqueRef:disk-a", in: repository) == disk.bytes)
        await repository.close()
    }

    @Test("removes only what is asked for, and minds no missing backup")
    func deletion() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 1, seed: 30)
        let id = try await world.backup([disk.send()], in: repository, at: Self.start)
        let missing = "/xo-vm-backups/\(Self.machine)/20200101T000000Z.json"
        try await repository.deleteVMBackups([missing], task: ChunkStoreWorld.task())
        #expect(try await repository.vmBackups(of: nil)[Self.machine]?.count == 1)
        await #expect(throws: BackupFailure.self) {
            try await repository.deleteVMBackups(["/etc/passwd"], task: ChunkStoreWorld.task())
        }
        try await repository.deleteVMBackups([missing, id], task: ChunkStoreWorld.task())
        #expect(try await repository.vmBackups(of: nil).isEmpty)
        await repository.close()
    }

    // MARK: Faults

    @Test("has whole backups only, whichever write fails (C85)")
    func faultsEverywhere() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 5 * Self.megabyte, seed: 31)
        var states = [try await world.backup([disk.send()], in: repository, at: Self.start): disk.bytes]
        var number = 0
        var timestamp = Self.start
        while number < 200 {
            timestamp += Self.hour
            var next = disk
            next.change(number % 3, seed: UInt64(600 + number))
            let sent = next.send(isDelta: true)
            world.fault.arm(number)
            var isDone = false
            do {
                let id = try await world.backup([sent], in: repository, at: timestamp)
                isDone = world.fault.visited <= number
                states[id] = next.bytes
                disk = next
            } catch is BackupFailure {}
            world.fault.arm(nil)
            for backup in try await repository.vmBackups(of: Self.machine)[Self.machine] ?? []
            where states[backup.id] == nil {
                // Its rename was done before the fault.
                #expect(backup.metadata.timestamp == timestamp)
                states[backup.id] = next.bytes
                disk = next
            }
            if isDone { break }
            number += 1
        }
        #expect(number > 10, "steps at which the store can fail")
        #expect(try await world.collectAndVerify() == [])
        let listed = try await repository.vmBackups(of: Self.machine)[Self.machine] ?? []
        #expect(Set(listed.map(\.id)) == Set(states.keys))
        for backup in [listed.first, listed.last].compactMap({ $0 }) {
            #expect(try await world.restore(backup.id, "OpaqueRef:disk-a", in: repository) == states[backup.id])
        }
        await repository.close()
    }

    // MARK: Sharing with other clients

    @Test("shares chunks with the same disk backed up as an image, and names it as an image")
    func imagesOfClients() async throws {
        let world = try ChunkStoreWorld()
        let repository = try await world.open()
        var disk = TestDisk("disk-a", byteCount: 9 * Self.megabyte, seed: 32)
        let path = world.folder.appending(path: "disk.img")
        try Data(disk.bytes).write(to: path)
        let group = try #require(BackupGroup(type: .host, id: "pve"))
        let snapshot = try #require(SnapshotName(group: group, time: 1_690_000_000))
        let store = try LocalChunkStore(
            ChunkStoreAddress(datastore: "main"), stores: world.registry, sessions: world.opener, access: world.access,
            workers: world.workers)
        let transport = try await store.openBackup(snapshot, base: nil)
        let upload = SnapshotUpload(snapshot, transport: transport, protection: .none)
        let archive = try #require(ArchiveName("disk.img.fidx"))
        let summary = try await upload.sendImage(archive, try ImageFile(path.path))
        try await upload.finish()
        await transport.close()
        await store.close()
        let id = try await world.backup([disk.send()], in: repository, at: Self.start)
        let backup = try #require(try await repository.vmBackups(of: nil)[Self.machine]?.first { $0.id == id })
        #expect(backup.metadata.json["chunkStore"]?["newChunks"]?.intValue == 0)
        let text = try #require(backup.metadata.json["chunkStore"]?["snapshot"]?.stringValue)
        let ours = try #require(SnapshotName(parsing: text))
        let manifest = try world.store.manifest(of: ours, in: .root)
        let image = try #require(ArchiveName("disk-disk-a.img.fidx").flatMap { manifest.file($0) })
        #expect(image.checksum == summary.checksum)
        await repository.close()
    }
}
