import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@testable import XenBackup

/// Folders of disks in disorder. (Spec: xo-proxy §4.10, §9.2.)
@Suite("A clean")
struct CleanTests {
    private let setting = ClassicSetting()
    private var history = DiskHistory(seed: 3)
    private let live: String
    private let folder: String

    /// Three days of one disk.
    init() async throws {
        live = history.addDisk(blocks: 3)
        folder = "\(ClassicSetting.machine)/vdis/job-1/\(live)"
        history.change(live, [0, 1])
        for day in 1...3 {
            try await history.backUp(setting, day)
            history.change(live, [day % 3])
        }
    }

    private func path(_ day: Int) -> String { "\(folder)/\(BackupDate.text(ClassicSetting.time(day))).vhd" }
    private func clean() async throws {
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
    }
    private var disks: [String] { setting.files.paths.filter { $0.hasPrefix(folder) } }

    @Test("changes nothing where all is in order")
    func quiet() async throws {
        let before = setting.files.paths
        try await clean()
        #expect(setting.files.paths == before)
        #expect(setting.record.warnings == [])
        #expect(setting.record.results("merge").isEmpty)
    }

    @Test("takes backups out of the list whose disk is damaged, and all that depend on it")
    mutating func broken() async throws {
        try await setting.files.write(path(2), [UInt8](repeating: 7, count: 5000), .replace)
        try await clean()
        #expect(try await setting.ids() == [ClassicSetting.name(1)])
        #expect(disks == [path(1)])
        history.backups = history.backups.filter { $0.key == ClassicSetting.name(1) }
        try await history.check(setting)
    }

    @Test("takes backups out of the list whose disk is missing, and all that depend on it")
    func missing() async throws {
        try await setting.files.remove(path(1))
        try await clean()
        #expect(try await setting.ids() == [])
        #expect(disks == [])
    }

    @Test("removes disks without metadata: a backup that a crash cut off")
    mutating func cutOff() async throws {
        try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(3))")
        try await setting.files.write("\(folder)/.1717.20240605T000000Z.vhd", [1], .new)
        try await setting.files.write("\(ClassicSetting.machine)/vdis/job-1/other/20240602T000000Z.vhd", [1], .new)
        history.backups[ClassicSetting.name(3)] = nil
        try await clean()
        #expect(disks == [path(1), path(2)])
        #expect(!setting.files.paths.contains { $0.contains("/other/") })
        try await history.check(setting)
    }

    @Test(
        "removes nothing where a folder cannot be listed or a file cannot be read",
        arguments: ["folder", "file", "vdis"])
    mutating func failing(what: String) async throws {
        let broken = ["folder": folder, "file": path(2), "vdis": "\(ClassicSetting.machine)/vdis"][what] ?? ""
        try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(2))")
        history.backups[ClassicSetting.name(2)] = nil
        let before = setting.files.paths
        setting.files.breakPath(broken, BackupFailure(.unavailable, "broken"))
        try await clean()
        #expect(setting.files.paths.filter { !$0.hasSuffix(".gz") } == before.filter { !$0.hasSuffix(".gz") })
        #expect(!setting.record.warnings.isEmpty)
        setting.files.breakPath(broken, nil)
        try await clean()
        #expect(disks == [path(1), path(3)])
        try await history.check(setting)
    }

    @Test("fails as a whole where the machine cannot be listed, and removes nothing")
    func unlisted() async throws {
        let before = setting.files.paths
        setting.files.breakPath(ClassicSetting.machine, BackupFailure(.unavailable, "broken"))
        await expectFailure(.unavailable) { try await clean() }
        #expect(setting.files.paths == before)
    }

    @Test("leaves a folder alone in which a disk has two children")
    func forked() async throws {
        // The third becomes a child of the first.
        let file = try await setting.files.open(path(3), .update)
        let disk = try await VHDFile.open(RemoteAccess(file: file), name: "3", .strict)
        try await disk.setParent(
            try #require(DiskUUID(parsing: DiskHistory.uuid("bbbbbbbb", 1))), name: ClassicPath.name(of: path(1)))
        try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(1))")
        let before = disks
        try await clean()
        #expect(disks == before)
        #expect(setting.record.warnings.contains { $0.contains("more than one disk is a difference to") })
        #expect(try await setting.ids() == [2, 3].map(ClassicSetting.name))
    }

    @Test("merges several orphans in one go, and orphans between as well")
    mutating func orphans() async throws {
        for day in 4...6 {
            try await history.backUp(setting, day)
            history.change(live, [day % 3])
        }
        for day in [1, 2, 4, 5] {
            try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(day))")
            history.backups[ClassicSetting.name(day)] = nil
        }
        try await clean()
        #expect(disks == [path(3), path(6)])
        #expect(setting.record.results("merge").count == 2)
        try await history.check(setting)
    }

    @Test("keeps what damaged metadata may refer to")
    mutating func damagedMetadata() async throws {
        try await setting.files.write(
            "\(ClassicSetting.machine)/\(ClassicSetting.name(1))", Array("{\"vhds\":".utf8), .replace)
        history.backups[ClassicSetting.name(1)] = nil
        try await clean()
        #expect(disks == [path(1), path(2), path(3)])
        try await history.check(setting)
    }

    @Test("leaves disks in the form of folders alone, which Xen Orchestra makes")
    func aliases() async throws {
        let other = "\(ClassicSetting.machine)/vdis/job-1/other"
        try await setting.files.write("\(other)/20240602T000000Z.alias.vhd", Array("./data/x.vhd".utf8), .new)
        try await setting.files.write("\(other)/data/x.vhd/header", [1], .new)
        var json = ClassicSetting.metadata(.delta, 9).json
        json["vhds"] = ["r": "vdis/job-1/other/20240602T000000Z.alias.vhd"]
        let name = "\(ClassicSetting.machine)/\(ClassicSetting.name(9))"
        try await setting.files.write(name, Array(JSONValue.object(json).compactText.utf8), .new)
        let before = setting.files.paths.filter { $0.hasPrefix(other) }
        try await clean()
        #expect(setting.files.paths.filter { $0.hasPrefix(other) } == before)
        #expect(try await setting.ids().contains(ClassicSetting.name(9)))
        let reader = try await setting.repository.openBackup("/" + name)
        await expectFailure(.unsupported) { try await reader.disk("r") }
        await reader.close()
    }

    @Test(
        "takes backups out of the list whose alias leads nowhere",
        arguments: ["./data/gone.vhd", "./20240602T000000Z.alias.vhd", "../../../../../etc", "", "\u{0}"])
    func deadAliases(text: String) async throws {
        let other = "\(ClassicSetting.machine)/vdis/job-1/other"
        try await setting.files.write("\(other)/20240602T000000Z.alias.vhd", Array(text.utf8), .new)
        var json = ClassicSetting.metadata(.delta, 9).json
        json["vhds"] = ["r": "vdis/job-1/other/20240602T000000Z.alias.vhd"]
        let name = "\(ClassicSetting.machine)/\(ClassicSetting.name(9))"
        try await setting.files.write(name, Array(JSONValue.object(json).compactText.utf8), .new)
        let reader = try await setting.repository.openBackup("/" + name)
        await #expect(throws: BackupFailure.self) { try await reader.disk("r") }
        await reader.close()
        try await clean()
        #expect(try await setting.ids() == (1...3).map(ClassicSetting.name))
        #expect(!setting.files.paths.contains { $0.hasPrefix(other) })
        try await history.check(setting)
    }

    @Test("survives chains that bite their tail")
    func circle() async throws {
        let file = try await setting.files.open(path(2), .update)
        let disk = try await VHDFile.open(RemoteAccess(file: file), name: "2", .strict)
        try await disk.setParent(
            try #require(DiskUUID(parsing: DiskHistory.uuid("bbbbbbbb", 3))), name: ClassicPath.name(of: path(3)))
        let reader = try await setting.repository.openBackup("/\(ClassicSetting.machine)/\(ClassicSetting.name(3))")
        await expectFailure(.corruptData) { try await reader.disk("OpaqueRef:\(live)") }
        await reader.close()
        try await clean()
        #expect(try await setting.ids() == [ClassicSetting.name(1)])
    }

    @Test("mends the note of which disks are differences")
    func kinds() async throws {
        let name = "\(ClassicSetting.machine)/\(ClassicSetting.name(2))"
        var json = try #require(try JSONValue(parsing: try await setting.files.read(name, limit: 1 << 20)).objectValue)
        json["isVhdDifferencing"] = ["OpaqueRef:\(live)": false]
        try await setting.files.write(name, Array(JSONValue.object(json).compactText.utf8), .replace)
        try await clean()
        #expect(try await setting.list()[1].metadata.json["isVhdDifferencing"] == ["OpaqueRef:\(live)": true])
    }

    @Test("limits how many deltas go in one run")
    func limited() async throws {
        try await setting.withTarget { target in
            try await target.applyRetention(
                RetentionRule(count: 1, maxMergedDeltas: 1), mode: .delta, scheduleID: "sch-1", isBefore: false,
                task: setting.record.root())
        }
        #expect(try await setting.ids() == [2, 3].map(ClassicSetting.name))
    }

    @Test("stops when it is cancelled, and goes on another time")
    mutating func cancelled() async throws {
        try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(2))")
        history.backups[ClassicSetting.name(2)] = nil
        let setting = setting
        let work = Task { try await setting.withTarget { try await $0.clean(task: setting.record.root()) } }
        work.cancel()
        _ = try? await work.value
        try await history.check(setting)
        try await clean()
        #expect(disks == [path(1), path(3)])
        try await history.check(setting)
    }
}
