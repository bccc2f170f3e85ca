import BackupFormats
import CairnTestSupport
import Testing
import VirtualDisks

@testable import XenBackup

/// States that Xen Orchestra leaves behind when it is interrupted, made by hand. (Spec: xo-proxy §4.10 point 6, §9.2.)
@Suite("Merges that others began")
struct InterruptedMergeTests {
    private let setting = ClassicSetting()
    private var history = DiskHistory(seed: 7)
    private let live: String
    private let folder: String

    /// Four days of one disk; the metadata of the first two is gone, so that three disks wait to become one.
    init() async throws {
        live = history.addDisk(blocks: 6)
        folder = "\(ClassicSetting.machine)/vdis/job-1/\(live)"
        history.change(live, [0, 1, 2])
        for day in 1...4 {
            try await history.backUp(setting, day)
            history.change(live, [day, day + 1])
        }
        for day in 1...2 {
            try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(day))")
            history.backups[ClassicSetting.name(day)] = nil
        }
    }

    private func path(_ day: Int) -> String { "\(folder)/\(BackupDate.text(ClassicSetting.time(day))).vhd" }
    private func stateName(_ day: Int) -> String { "\(folder)/.\(ClassicPath.name(of: path(day))).merge.json" }
    private func uuid(_ day: Int) -> String { DiskHistory.uuid("bbbbbbbb", day) }

    private func writeState(
        _ step: String, chain: [Int]? = [1, 2, 3], currentBlock: JSONValue = 3, child: Int = 3
    ) async throws {
        var json: JSONObject = [
            "step": .string(step), "parent": ["uuid": .string(uuid(1))], "child": ["uuid": .string(uuid(child))],
            "currentBlock": currentBlock, "mergedDataSize": 0, "diskSize": 1,
        ]
        if let chain {
            json["chain"] = .array(chain.map { .string("vdis/job-1/\(live)/\(ClassicPath.name(of: path($0)))") })
        }
        try await setting.files.write(stateName(1), Array(JSONValue.object(json).compactText.utf8), .new)
    }

    /// Copies the blocks of the younger disks into the oldest, up to a block, and leaves out what an interruption leaves out.
    private func copyBlocks(upTo limit: Int, isClosed: Bool, identity: Int? = nil) async throws {
        var links: [VHDFile] = []
        for day in [3, 2, 1] {
            let file = try await setting.files.open(path(day), .update)
            links.append(try await VHDFile.open(RemoteAccess(file: file), name: "\(day)", .strict))
        }
        let blocks = try await VHDChain.open(Array(links.prefix(2)), isPart: true)
        for index in try await blocks.presentBlocks() where index < limit {
            if let block = try await blocks.merged(index) { try await links[2].write(block) }
        }
        try await links[2].sync()
        guard isClosed else { return }
        var footer = await links[2].footer
        if let identity { footer.uuid = try #require(DiskUUID(parsing: uuid(identity))) }
        try await links[2].finish(footer)
    }

    /// Restores are right before the clean, where that is possible at all, and after it; nothing is left over.
    private func finish(readableBefore: Bool = true) async throws {
        if readableBefore { try await history.check(setting, "before") }
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        try await history.check(setting, "after")
        #expect(setting.files.paths.filter { $0.hasPrefix(folder) } == [path(3), path(4)])
        let first = try #require(try await setting.list().first).metadata
        #expect(first.json["isVhdDifferencing"] == ["OpaqueRef:\(live)": false])
    }

    @Test("go on, whatever their note says", arguments: [JSONValue.null, -1, 0, 3, 1_000_000, "x"])
    func resumed(currentBlock: JSONValue) async throws {
        try await copyBlocks(upTo: 3, isClosed: false)
        try await writeState("mergeBlocks", currentBlock: currentBlock)
        try await finish()
        #expect(setting.record.warnings.contains("A merge that was interrupted goes on"))
    }

    @Test("go on without a stored chain")
    func withoutChain() async throws {
        try await copyBlocks(upTo: 2, isClosed: false)
        try await writeState("mergeBlocks", chain: nil)
        try await finish()
    }

    @Test("go on where nothing was copied yet")
    func untouched() async throws {
        try await writeState("mergeBlocks")
        try await finish()
    }

    @Test("go on where the state itself was cut")
    func damagedState() async throws {
        try await copyBlocks(upTo: 2, isClosed: false)
        try await setting.files.write(stateName(1), Array("{\"step\":\"merg".utf8), .new)
        try await finish()
    }

    @Test("end where all was copied and the identity changed already")
    func identified() async throws {
        try await copyBlocks(upTo: 99, isClosed: true, identity: 3)
        try await writeState("mergeBlocks")
        try await finish()
    }

    @Test("end in the step of cleaning, whatever was removed before", arguments: [[], [2], [3], [2, 3]])
    func cleanup(removed: [Int]) async throws {
        try await copyBlocks(upTo: 99, isClosed: true, identity: 3)
        try await writeState("cleanup")
        for day in removed { try await setting.files.remove(path(day)) }
        try await finish()
    }

    @Test("end in the step of cleaning without a stored chain", arguments: [[], [2, 3]])
    func cleanupWithoutChain(removed: [Int]) async throws {
        try await copyBlocks(upTo: 99, isClosed: true, identity: 3)
        try await writeState("cleanup", chain: nil)
        for day in removed { try await setting.files.remove(path(day)) }
        // Only the metadata knows the name of a disk that is gone; before the clean nobody asks it.
        try await finish(readableBefore: removed.isEmpty)
    }

    @Test("end where the state is gone and only the name is missing")
    func unnamed() async throws {
        try await copyBlocks(upTo: 99, isClosed: true, identity: 3)
        try await finish()
        #expect(setting.record.warnings.contains("A merged disk gets its name"))
    }

    @Test("are not believed where two disks claim one identity and differ")
    func impostor() async throws {
        try await copyBlocks(upTo: 2, isClosed: true, identity: 3)
        let before = setting.files.paths
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(setting.files.paths.filter { $0.hasSuffix(".vhd") } == before.filter { $0.hasSuffix(".vhd") })
        #expect(try await setting.ids() == history.backups.keys.sorted())
        #expect(setting.record.warnings.contains { $0.contains("have the same identity") })
    }

    @Test("leave a state that speaks of nothing: it is removed")
    func orphan() async throws {
        try await setting.files.write("\(folder)/.20200101T000000Z.vhd.merge.json", Array("{}".utf8), .new)
        try await finish()
    }

    @Test("into a disk that a backup needs are not touched")
    func needed() async throws {
        try await setting.files.write(
            "\(folder)/.\(ClassicPath.name(of: path(3))).merge.json",
            Array(JSONValue.object(["step": "mergeBlocks", "child": ["uuid": .string(uuid(4))]]).compactText.utf8), .new
        )
        let before = setting.files.paths
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(setting.files.paths.filter { $0.hasPrefix(folder) } == before.filter { $0.hasPrefix(folder) })
        try await history.check(setting)
    }

    @Test("that nobody needs any more are dropped with their disks")
    func pointless() async throws {
        try await copyBlocks(upTo: 2, isClosed: false)
        try await writeState("mergeBlocks")
        for day in 3...4 { try await setting.files.remove("\(ClassicSetting.machine)/\(ClassicSetting.name(day))") }
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(setting.files.paths.filter { $0.hasPrefix(folder) } == [])
    }

    @Test("wait where disks are removed only")
    func withoutMerging() async throws {
        try await copyBlocks(upTo: 2, isClosed: false)
        try await writeState("mergeBlocks")
        let name = ClassicSetting.name(4)
        try await setting.repository.deleteVMBackups(
            ["/\(ClassicSetting.machine)/\(name)"], task: setting.record.root())
        #expect(setting.files.paths.filter { $0.hasPrefix(folder) }.count == 5)
        #expect(try await setting.ids() == [ClassicSetting.name(3)])
        try await DiskHistory.check(setting, ClassicSetting.name(3), history.backups[ClassicSetting.name(3)] ?? [:])
    }
}
