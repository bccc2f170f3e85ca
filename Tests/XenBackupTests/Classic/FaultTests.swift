import BackupFormats
import CairnTestSupport
import Foundation
import Testing
import VirtualDisks

@testable import XenBackup

/// The machine dies at each writing operation of everything that changes a remote. Afterwards every backup that is listed
/// gives back the right bytes, and none is missing that was not deleted on purpose: before the next clean and after it.
/// (Spec: xo-proxy §4.10; C62.)
@Suite("Backups in the classic layout survive a death", .serialized)
struct FaultTests {
    /// All of it with `CAIRN_SOAK=1`, else a twentieth.
    private static let isSoak = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1"
    private static let share = 20
    /// A clean has seldom more.
    private static let cleanOperations = 40

    /// Something that changes a remote.
    struct Work: CustomTestStringConvertible {
        let testDescription: String
        /// What lies there before.
        let prepare: @Sendable (ClassicSetting, inout DiskHistory) async throws -> Void
        /// Backups of these days may be gone afterwards.
        let dropped: Set<Int>
        /// The backup of this day may be there afterwards.
        let added: Int?
        let run: @Sendable (ClassicSetting, inout DiskHistory) async throws -> Void
    }

    private static func days(
        _ days: ClosedRange<Int>, blocks: Int = 3
    ) -> @Sendable (ClassicSetting, inout DiskHistory) async throws -> Void {
        { setting, history in
            let live = history.addDisk(blocks: blocks)
            history.change(live, [0, 1])
            for day in days {
                try await history.backUp(setting, day)
                history.change(live, [day % blocks, (day + 1) % blocks])
            }
        }
    }

    private static func delete(_ days: [Int]) -> @Sendable (ClassicSetting, inout DiskHistory) async throws -> Void {
        { setting, _ in
            let ids = days.map { "/\(ClassicSetting.machine)/\(ClassicSetting.name($0))" }
            try await setting.repository.deleteVMBackups(ids, task: setting.record.root())
        }
    }

    private static let works = [
        Work(
            testDescription: "the first backup", prepare: { _, history in history.addDisk(blocks: 2) }, dropped: [],
            added: 1
        ) {
            try await $1.backUp($0, 1)
        },
        Work(testDescription: "a backup with retention and merge", prepare: days(1...3), dropped: [1, 2], added: 4) {
            try await $1.backUp($0, 4, retention: 2)
        },
        Work(
            testDescription: "a backup of a disk that has grown, with a merge that moves blocks",
            prepare: { setting, history in
                try await days(1...2)(setting, &history)
                history.grow(history.disks.keys.sorted()[0], to: 200)
                history.change(history.disks.keys.sorted()[0], [0, 199])
            }, dropped: [1, 2], added: 3
        ) { try await $1.backUp($0, 3, retention: 1) },
        Work(testDescription: "deletions in the middle", prepare: days(1...4), dropped: [2, 3], added: nil) {
            try await delete([3, 2])($0, &$1)
            try await $0.withTarget { [setting = $0] in try await $0.clean(task: setting.record.root()) }
        },
        Work(
            testDescription: "the deletion of everything", prepare: days(1...2), dropped: [1, 2], added: nil,
            run: delete([1, 2])),
        Work(
            testDescription: "a merge of several chains",
            prepare: { setting, history in
                try await days(1...5)(setting, &history)
                try await delete([1, 2, 4])(setting, &history)
                for day in [1, 2, 4] { history.backups[ClassicSetting.name(day)] = nil }
            }, dropped: [], added: nil
        ) { setting, _ in try await setting.withTarget { try await $0.clean(task: setting.record.root()) } },
        Work(
            testDescription: "a backup of a disk that is new, while another goes",
            prepare: { setting, history in
                history.addDisk(blocks: 2)
                try await days(1...2, blocks: 2)(setting, &history)
                history.removeDisk(history.disks.keys.sorted()[0])
                history.addDisk(blocks: 2)
            }, dropped: [1], added: 3
        ) { try await $1.backUp($0, 3, retention: 2) },
    ]

    @Test("of the machine during", arguments: works.indices, [MemoryFiles.End.kill, .power])
    func death(index: Int, end: MemoryFiles.End) async throws {
        let work = Self.works[index]
        let base = MemoryFiles()
        var before = DiskHistory(seed: UInt64(index + 1))
        try await work.prepare(ClassicSetting(base), &before)

        let whole = base.copy()
        var after = before
        try await work.run(ClassicSetting(whole, mergeStateInterval: .zero), &after)
        let count = whole.operations
        #expect(count > 0)

        let first = Int.random(in: 0..<Self.share)
        for operation in 1...count where Self.isSoak || operation % Self.share == first {
            let comment = "\(work.testDescription), \(end) at operation \(operation) of \(count)"
            try await die(work, base, before, after, operation, end, comment)
        }
    }

    private func die(
        _ work: Work, _ base: MemoryFiles, _ before: DiskHistory, _ after: DiskHistory, _ operation: Int,
        _ end: MemoryFiles.End, _ comment: String
    ) async throws {
        let files = base.copy(dyingAt: operation)
        var history = before
        try? await work.run(ClassicSetting(files, mergeStateInterval: .zero), &history)
        #expect(files.isDead, "\(comment)")
        var random = SeededRandom(seed: UInt64(operation))

        // All that can be there, and what must be.
        var contents = before.backups
        var required = Set(before.backups.keys).subtracting(work.dropped.map(ClassicSetting.name))
        if let day = work.added {
            contents[ClassicSetting.name(day)] = before.disks
            if history.backups[ClassicSetting.name(day)] != nil { required.insert(ClassicSetting.name(day)) }
        }

        let left = files.afterDeath(end, using: &random)
        try await Self.check(left, contents, required, comment + ", before the clean")
        // The clean may be cut short, too.
        let second = left.copy(dyingAt: Int.random(in: 1...Self.cleanOperations, using: &random))
        try? await Self.clean(second)
        let third = second.afterDeath(end, using: &random)
        try await Self.check(third, contents, required, comment + ", after a clean that died")
        for (files, when) in [(left, "after a clean"), (third, "after a second clean")] {
            try await Self.clean(files)
            let comment = "\(comment), \(when)"
            try await Self.check(files, contents, required, comment)
            #expect(!files.paths.contains { ClassicPath.name(of: $0).hasPrefix(".") }, "\(comment): \(files.paths)")
            let disks = files.paths.count { $0.hasSuffix(".vhd") }
            let needed = try await ClassicSetting(files).list().reduce(0) { $0 + $1.metadata.vhds.members.count }
            #expect(disks == needed, "\(comment): \(files.paths)")
        }
    }

    private static func clean(_ files: MemoryFiles) async throws {
        let setting = ClassicSetting(files, mergeStateInterval: .zero)
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
    }

    private static func check(
        _ files: MemoryFiles, _ contents: [String: [String: PlainDisk]], _ required: Set<String>, _ comment: String
    ) async throws {
        let setting = ClassicSetting(files.copy())
        let listed = Set(try await setting.ids())
        #expect(required.isSubset(of: listed), "\(comment): \(required.subtracting(listed)) is gone")
        for name in listed {
            let expected = try #require(contents[name], "\(comment): \(name)")
            do {
                try await DiskHistory.check(setting, name, expected, comment)
            } catch {
                Issue.record("\(comment): \(name) cannot be read: \(error)")
            }
        }
    }

    @Test(
        "of the machine during full backups with retention, and deletions", arguments: [MemoryFiles.End.kill, .power])
    func full(end: MemoryFiles.End) async throws {
        let base = MemoryFiles()
        for day in 1...3 { try await ClassicSetting(base).backUpFull(day) }
        func run(_ files: MemoryFiles) async throws {
            let setting = ClassicSetting(files)
            try await setting.backUpFull(4)
            try await setting.withTarget { target in
                try await target.applyRetention(
                    RetentionRule(count: 2), mode: .full, scheduleID: "sch-1", isBefore: false,
                    task: setting.record.root())
                try await target.clean(task: setting.record.root())
            }
            try await setting.repository.deleteVMBackups(
                ["/\(ClassicSetting.machine)/\(ClassicSetting.name(3))"], task: setting.record.root())
        }
        let whole = base.copy()
        try await run(whole)
        for operation in 1...whole.operations {
            let files = base.copy(dyingAt: operation)
            try? await run(files)
            var random = SeededRandom(seed: UInt64(operation))
            let left = ClassicSetting(files.afterDeath(end, using: &random))
            let comment = "\(end) at operation \(operation) of \(whole.operations)"
            for when in ["before", "after"] {
                let names = try await left.ids()
                #expect(Set(names).isSubset(of: (1...4).map(ClassicSetting.name)))
                if when == "after" {
                    #expect(left.files.paths.count { $0.hasSuffix(".xva") } == names.count, "\(comment)")
                    #expect(!left.files.paths.contains { ClassicPath.name(of: $0).hasPrefix(".") }, "\(comment)")
                }
                for day in 1...4 where names.contains(ClassicSetting.name(day)) {
                    let reader = try await left.repository.openBackup(
                        "/\(ClassicSetting.machine)/\(ClassicSetting.name(day))")
                    #expect(
                        try await collect(try await reader.xva().stream) == ClassicSetting.xva(UInt64(day)),
                        "\(comment)")
                    await reader.close()
                }
                try await left.withTarget { try await $0.clean(task: left.record.root()) }
            }
        }
    }
}
