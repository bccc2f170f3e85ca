import BackupFormats
import CairnTestSupport
import Glibc
import Synchronization
import Testing
import VirtualDisks

@testable import XenBackup

/// A disk whose blocks each hold one value; absent ones hold 0.
struct PlainDisk: Equatable, Sendable {
    var size: UInt64
    var blocks: [Int: UInt8] = [:]

    static func bytes(_ value: UInt8, _ used: Int = DiskGeometry.blockBytes) -> [UInt8] {
        [UInt8](repeating: value, count: used) + [UInt8](repeating: 0, count: DiskGeometry.blockBytes - used)
    }

    func used(_ index: Int) -> Int {
        Int(min(UInt64(DiskGeometry.blockBytes), size - UInt64(index) * UInt64(DiskGeometry.blockBytes)))
    }
}

/// Some blocks, in any order.
final class PlainSource: DiskSource {
    let size: UInt64
    let isDifferencing: Bool
    private let blocks: Mutex<[DiskBlock]>

    init(_ disk: PlainDisk, only indexes: [Int]? = nil, using random: inout SeededRandom) {
        size = disk.size
        isDifferencing = indexes != nil
        let chosen = (indexes ?? Array(disk.blocks.keys)).sorted().shuffled(using: &random)
        blocks = Mutex(chosen.map { DiskBlock(index: $0, bytes: PlainDisk.bytes(disk.blocks[$0] ?? 0, disk.used($0))) })
    }

    func nextBlock() async throws -> DiskBlock? { blocks.withLock { $0.popLast() } }
}

/// A machine that changes and is backed up, and what each backup must give back.
struct DiskHistory: Sendable {
    private static let block = UInt64(DiskGeometry.blockBytes)

    var random: SeededRandom
    /// By live uuid.
    var disks: [String: PlainDisk] = [:]
    private var changed: [String: Set<Int>] = [:]
    /// By live uuid, the uuid of the snapshot that was exported last.
    private var bases: [String: String] = [:]
    /// By name of the metadata file.
    var backups: [String: [String: PlainDisk]] = [:]
    private var nextValue: UInt8 = 1
    private var nextDisk = 1
    private var nextSnapshot = 1

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    static func uuid(_ kind: String, _ number: Int) -> String {
        let digits = String(number)
        return "\(kind)-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    @discardableResult
    mutating func addDisk(blocks: Int) -> String {
        let live = Self.uuid("aaaaaaaa", nextDisk)
        nextDisk += 1
        // The last block is not whole.
        disks[live] = PlainDisk(size: UInt64(blocks) * Self.block - 1024)
        change(live, Array(0..<blocks).filter { _ in Bool.random(using: &random) })
        return live
    }

    mutating func removeDisk(_ live: String) {
        disks[live] = nil
        changed[live] = nil
        bases[live] = nil
    }

    mutating func change(_ live: String, _ indexes: [Int]) {
        for index in indexes {
            nextValue = nextValue == 255 ? 1 : nextValue + 1
            // Now and then a block becomes empty.
            disks[live]?.blocks[index] = Int.random(in: 0..<8, using: &random) == 0 ? 0 : nextValue
            changed[live, default: []].insert(index)
        }
    }

    mutating func grow(_ live: String, to blocks: Int) {
        guard let old = disks[live] else { return }
        // What was the last block is whole now, with zeros at its end.
        if let value = disks[live]?.blocks[Int((old.size - 1) / Self.block)], value != 0 {
            change(live, [Int((old.size - 1) / Self.block)])
        }
        disks[live]?.size = UInt64(blocks) * Self.block
    }

    mutating func changeSome() {
        for live in disks.keys.sorted() {
            let count = DiskGeometry.blockCount(disks[live]?.size ?? 0)
            change(
                live, (0..<Int.random(in: 0...2, using: &random)).map { _ in Int.random(in: 0..<count, using: &random) }
            )
        }
    }

    /// Backs up as a job does: prepare, base, write, commit, retention, clean.
    mutating func backUp(_ setting: ClassicSetting, _ day: Int, retention: Int? = nil) async throws {
        let task = setting.record.root()
        let target = try await setting.repository.target(for: ClassicSetting.vm)
        do {
            try await target.prepare(task: task)
            let withBase = try await target.disksWithBase(bases, jobID: "job-1")
            let writer = try await target.begin(ClassicSetting.plan(.delta, day))
            var json = ClassicSetting.metadata(.delta, day).json
            var vdis = JSONObject()
            var snapshots: [String: String] = [:]
            for live in disks.keys.sorted() {
                guard let disk = disks[live] else { continue }
                let snapshot = Self.uuid("bbbbbbbb", nextSnapshot)
                nextSnapshot += 1
                snapshots[live] = snapshot
                let base = withBase.contains(live) ? bases[live] : nil
                let source = PlainSource(
                    disk, only: base == nil ? nil : Array(changed[live] ?? []), using: &random)
                vdis["OpaqueRef:\(live)"] = ["uuid": .string(snapshot), "$snapshot_of$uuid": .string(live)]
                _ = try await writer.write(
                    disk: VMBackupDisk(reference: "OpaqueRef:\(live)", liveUUID: live, uuid: snapshot, baseUUID: base),
                    from: source)
            }
            json["vdis"] = .object(vdis)
            _ = try await writer.commit(VMBackupMetadata(json))
            bases = snapshots
            changed = [:]
            backups[ClassicSetting.name(day)] = disks
            if let retention {
                try await target.applyRetention(
                    RetentionRule(count: retention), mode: .delta, scheduleID: "sch-1", isBefore: false, task: task)
            }
            try await target.clean(task: task)
            await target.release()
        } catch {
            await target.release()
            throw error
        }
        if let retention {
            for name in backups.keys.sorted().dropLast(retention) { backups[name] = nil }
        }
    }

    /// Compares what a backup gives back with what it must.
    static func check(
        _ setting: ClassicSetting, _ name: String, _ expected: [String: PlainDisk], _ comment: String = ""
    ) async throws {
        let reader = try await setting.repository.openBackup("/\(ClassicSetting.machine)/\(name)")
        for (live, disk) in expected {
            let view = try await reader.disk("OpaqueRef:\(live)")
            #expect(view.size == disk.size, "\(comment) \(name) \(live)")
            let present = Set(try await view.presentBlocks())
            for index in 0..<DiskGeometry.blockCount(disk.size) {
                let value = disk.blocks[index] ?? 0
                guard value != 0 || present.contains(index) else { continue }
                let isSame = Self.isSame(try await view.block(index), PlainDisk.bytes(value, disk.used(index)))
                #expect(isSame, "\(comment) \(name) disk \(live) block \(index)")
                if !isSame { return await reader.close() }
            }
        }
        #expect(reader.metadata.vhds.members.count == expected.count)
        await reader.close()
    }

    /// Checks that exactly these backups are listed and give back what they must.
    func check(_ setting: ClassicSetting, _ comment: String = "") async throws {
        #expect(try await setting.ids() == backups.keys.sorted(), "\(comment)")
        for (name, expected) in backups { try await Self.check(setting, name, expected, comment) }
    }

    static func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count
            && left.withUnsafeBytes { a in
                right.withUnsafeBytes { b in
                    memcmp(a.baseAddress ?? b.baseAddress!, b.baseAddress ?? a.baseAddress!, a.count) == 0
                }
            }
    }
}
