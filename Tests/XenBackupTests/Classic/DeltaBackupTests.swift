import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@testable import XenBackup

@Suite("Delta backups in the classic layout")
struct DeltaBackupTests {
    private let setting = ClassicSetting()

    private static func vhds(_ files: MemoryFiles) -> [String] {
        files.paths.filter { $0.hasSuffix(".vhd") }.map { String($0.dropFirst(ClassicSetting.machine.count + 1)) }
    }

    @Test("lie in a folder for each disk, each the difference to the one before")
    func layout() async throws {
        var history = DiskHistory(seed: 1)
        let live = history.addDisk(blocks: 4)
        history.change(live, [0, 1])
        for day in 1...3 {
            try await history.backUp(setting, day)
            history.change(live, [day])
        }
        let folder = "vdis/job-1/\(live)"
        #expect(Self.vhds(setting.files) == (1...3).map { "\(folder)/\(BackupDate.text(ClassicSetting.time($0))).vhd" })
        try await history.check(setting)
        let list = try await setting.list().map(\.metadata)
        #expect(list.map { $0.json["isVhdDifferencing"]?["OpaqueRef:\(live)"] } == [false, true, true])
        #expect(list[0].vhds["OpaqueRef:\(live)"] == .string("\(folder)/20240602T000000Z.vhd"))
        let size = UInt64(setting.files.content("\(ClassicSetting.machine)/\(folder)/20240604T000000Z.vhd")?.count ?? 0)
        #expect(list[2].size == Int64(size) && size < 3 << 20)
    }

    @Test(
        "give back every state after ten days of random changes, with disks that come, go and grow",
        arguments: [UInt64(11), 12, 13])
    func tenDays(seed: UInt64) async throws {
        var history = DiskHistory(seed: seed)
        history.addDisk(blocks: 5)
        history.addDisk(blocks: 2)
        for day in 1...10 {
            try await history.backUp(setting, day, retention: 4)
            try await history.check(setting, "seed \(seed) day \(day)")
            history.changeSome()
            if day == 3 { history.addDisk(blocks: 3) }
            if day == 4 { history.grow(history.disks.keys.sorted()[0], to: 7) }
            if day == 6 { history.removeDisk(history.disks.keys.sorted()[1]) }
        }
        #expect(setting.record.results("merge").count > 3)
        // All that is left is needed: a disk for each backup.
        let needed = history.backups.values.reduce(0) { $0 + $1.count }
        #expect(Self.vhds(setting.files).count == needed)
        #expect(setting.files.paths.allSatisfy { !ClassicPath.name(of: $0).hasPrefix(".") })
    }

    @Test("may be deleted in any order", arguments: [UInt64(21), 22, 23, 24])
    func deletion(seed: UInt64) async throws {
        var history = DiskHistory(seed: seed)
        history.addDisk(blocks: 4)
        for day in 1...5 {
            try await history.backUp(setting, day)
            history.changeSome()
        }
        var random = SeededRandom(seed: seed)
        let task = setting.record.root()
        for name in history.backups.keys.sorted().shuffled(using: &random) {
            try await setting.repository.deleteVMBackups(["/\(ClassicSetting.machine)/\(name)"], task: task)
            history.backups[name] = nil
            try await history.check(setting, "seed \(seed), \(name) deleted")
            if Bool.random(using: &random) {
                try await setting.withTarget { try await $0.clean(task: task) }
                try await history.check(setting, "seed \(seed), \(name) deleted and cleaned")
                #expect(Self.vhds(setting.files).count == history.backups.count)
            }
        }
        #expect(Self.vhds(setting.files) == [])
        #expect(setting.record.warnings.allSatisfy { $0 == "A disk that no backup needs is removed" })
    }

    @Test("tell in their metadata what a merge made of them")
    func mergedMetadata() async throws {
        var history = DiskHistory(seed: 31)
        let live = history.addDisk(blocks: 4)
        history.change(live, [0, 1, 2])
        try await history.backUp(setting, 1)
        history.change(live, [2, 3])
        try await history.backUp(setting, 2, retention: 1)
        let metadata = try #require(try await setting.list().first).metadata
        #expect(metadata.json["isVhdDifferencing"] == ["OpaqueRef:\(live)": false])
        let path = "\(ClassicSetting.machine)/vdis/job-1/\(live)/20240603T000000Z.vhd"
        #expect(metadata.size == Int64(setting.files.content(path)?.count ?? 0))
        // Blocks that both had are written once; 2 or 3 came.
        #expect(setting.record.results("merge") == [["size": .integer(2 * DiskGeometry.blockBytes)]])
        try await history.check(setting)
        history.change(live, [1])
        try await history.backUp(setting, 3, retention: 1)
        try await history.check(setting)
    }

    @Test("merge what has grown so much that the table needs room", arguments: [false, true])
    func grown(isBetween: Bool) async throws {
        var history = DiskHistory(seed: 41)
        let live = history.addDisk(blocks: 3)
        history.change(live, [0, 1, 2])
        try await history.backUp(setting, 1)
        if isBetween {
            history.change(live, [1])
            try await history.backUp(setting, 2)
        }
        // 128 entries to a sector of the table.
        history.grow(live, to: 300)
        history.change(live, [0, 299])
        try await history.backUp(setting, 3, retention: 1)
        #expect(Self.vhds(setting.files).count == 1)
        try await history.check(setting)
    }

    @Test("are not merged while one of them is read, through whichever repository")
    func readers() async throws {
        let gate = MachineGate()
        let setting = ClassicSetting(setting.files, gate: gate)
        var history = DiskHistory(seed: 51)
        let live = history.addDisk(blocks: 3)
        history.change(live, [0, 1, 2])
        try await history.backUp(setting, 1)
        history.change(live, [1])
        try await history.backUp(setting, 2)
        let other = ClassicSetting(setting.files, gate: gate)
        let reader = try await other.repository.openBackup("/\(ClassicSetting.machine)/\(ClassicSetting.name(2))")
        let view = try await reader.disk("OpaqueRef:\(live)")
        try await history.backUp(setting, 3, retention: 2)
        #expect(Self.vhds(setting.files).count == 3)
        let value = try #require(history.backups[ClassicSetting.name(2)]?[live]?.blocks[1])
        #expect(try await view.block(1)[0] == value)
        await reader.close()
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(Self.vhds(setting.files).count == 2)
        try await history.check(setting)
    }

    @Test("that are given up leave nothing")
    func abort() async throws {
        try await setting.withTarget { target in
            let writer = try await target.begin(ClassicSetting.plan(.delta, 1))
            var random = SeededRandom(seed: 1)
            let disk = PlainDisk(size: 5 << 20, blocks: [0: 1, 2: 3])
            let live = DiskHistory.uuid("aaaaaaaa", 1)
            _ = try await writer.write(
                disk: VMBackupDisk(
                    reference: "r", liveUUID: live, uuid: DiskHistory.uuid("bbbbbbbb", 1), baseUUID: nil),
                from: PlainSource(disk, using: &random))
            #expect(setting.files.paths.count == 1)
            await writer.abort()
            #expect(setting.files.paths == [])
            await expectFailure(.conflict) {
                try await writer.write(
                    disk: VMBackupDisk(
                        reference: "r", liveUUID: live, uuid: DiskHistory.uuid("bbbbbbbb", 1), baseUUID: live),
                    from: PlainSource(disk, only: [0], using: &random))
            }
            #expect(setting.files.paths == [])
        }
    }

    @Test("find their base by identity, only where its chain is whole and it has no child yet")
    func bases() async throws {
        var history = DiskHistory(seed: 61)
        let live = history.addDisk(blocks: 2)
        history.change(live, [0])
        for day in 1...3 {
            try await history.backUp(setting, day)
            history.change(live, [1])
        }
        let snapshots = (1...3).map { DiskHistory.uuid("bbbbbbbb", $0) }
        let folder = "\(ClassicSetting.machine)/vdis/job-1/\(live)"
        func found(_ uuid: String, job: String = "job-1", in files: MemoryFiles) async throws -> Bool {
            try await ClassicSetting(files).withTarget { target in
                try await target.disksWithBase([live: uuid], jobID: job) == [live]
            }
        }
        #expect(try await found(snapshots[2], in: setting.files))
        #expect(try await found(snapshots[2].uppercased(), in: setting.files))
        #expect(try await !found(snapshots[1], in: setting.files), "has a child")
        #expect(try await !found(DiskHistory.uuid("cccccccc", 1), in: setting.files))
        #expect(try await !found("nonsense", in: setting.files))
        #expect(try await !found(snapshots[2], job: "job-2", in: setting.files))
        let missing = setting.files.copy()
        try await missing.remove("\(folder)/20240602T000000Z.vhd")
        #expect(try await !found(snapshots[2], in: missing))
        let broken = setting.files.copy()
        try await broken.write("\(folder)/20240602T000000Z.vhd", [1, 2, 3], .replace)
        #expect(try await !found(snapshots[2], in: broken))
        let failing = setting.files.copy()
        failing.breakPath("\(folder)/20240603T000000Z.vhd", BackupFailure(.unavailable, "broken"))
        await expectFailure(.unavailable) { try await found(snapshots[2], in: failing) }
    }
}
