import BackupFormats
import Synchronization
import Tasks
import VirtualDisks

@testable import XenBackup

/// A remote in memory. What is written is kept as whole disks, so that a wrong base shows as wrong content.
final class FakeRepository: XenRepository {
    struct Stored: Sendable {
        var metadata: VMBackupMetadata
        var xva: [UInt8] = []
        /// By the uuid of the snapshot's disk.
        var disks: [String: FakeHost.Content] = [:]
        var transferred: Set<String> = []
        var deltas: Set<String> = []
    }

    struct State {
        var backups: [String: [Stored]] = [:]
        var lockedMachines: Set<String> = []
        var openWriters = 0
        var opens = 0
        var closes = 0
        /// Steps, in the order in which they came.
        var steps: [String] = []
        var faults: [String: @Sendable () async throws -> Void] = [:]
        var everyStep: (@Sendable (String) async throws -> Void)?
        var metadata: [MetadataBackup] = []
        var metadataContents: [[UInt8]] = []
        var rules: [RetentionRule] = []
        var mostLocks = 0
    }

    let remoteID: String
    let prefersUncompressedExports: Bool
    let state = Mutex(State())
    var name: String { "remote \(remoteID)" }

    init(_ id: String, prefersUncompressedExports: Bool = false) {
        remoteID = id
        self.prefersUncompressedExports = prefersUncompressedExports
    }

    func step(_ name: String) async throws {
        let (fault, every) = state.withLock { state in
            state.steps.append(name)
            return (state.faults[name], state.everyStep)
        }
        try await every?(name)
        try await fault?()
    }

    func fault(_ step: String, _ fault: (@Sendable () async throws -> Void)?) {
        state.withLock { $0.faults[step] = fault }
    }

    func backups(_ vm: String) -> [Stored] { state.withLock { $0.backups[vm] ?? [] } }

    /// Nothing is held or half written.
    var isAtRest: Bool {
        state.withLock { $0.lockedMachines.isEmpty && $0.openWriters == 0 && $0.opens == $0.closes }
    }

    func info() async throws -> JSONObject { [:] }
    func test() async -> JSONObject { ["success": true] }
    func totalBackupSize() async throws -> JSONObject { ["onDisk": 0] }

    func vmBackups(of vm: String?) async throws -> [String: [VMBackup]] {
        try await step("list")
        return state.withLock { state in
            state.backups.filter { vm == nil || $0.key == vm }.mapValues { list in
                list.map { VMBackup(id: "/xo-vm-backups/x/\($0.metadata.timestamp).json", metadata: $0.metadata) }
            }
        }
    }

    func target(for vm: String) async throws -> any VMBackupTarget {
        try await step("target")
        try state.withLock { state in
            guard state.lockedMachines.insert(vm).inserted else {
                throw BackupFailure(.conflict, "Lock file is already being held")
            }
            state.mostLocks = max(state.mostLocks, state.lockedMachines.count)
        }
        return FakeTarget(repository: self, vm: vm)
    }

    func openBackup(_ id: String) async throws -> any VMBackupReader { throw BackupFailure(.notFound, "no \(id)") }
    func deleteVMBackups(_ ids: [String], task: TaskNode) async throws { try await step("delete") }

    func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject] {
        try await step("list metadata")
        return state.withLock { state in
            state.metadata.filter { $0.kind == kind }.map { backup in
                var entry = backup.metadata
                let pool = backup.poolUUID.map { "/\($0)" } ?? ""
                entry["id"] = .string("/\(kind.rawValue)/\(backup.scheduleID)\(pool)/\(backup.timestamp)")
                return entry
            }
        }
    }

    func writeMetadataBackup(_ backup: MetadataBackup) async throws {
        try await step("metadata")
        let bytes = try await backup.data.readAll(limit: 1 << 20)
        state.withLock { state in
            state.metadata.append(backup)
            state.metadataContents.append(bytes)
        }
    }

    func readMetadataBackup(_ id: String) async throws -> (metadata: JSONObject, dataName: String, data: any ByteSource)
    {
        try state.withLock { state in
            guard
                let index = state.metadata.firstIndex(where: {
                    id.hasPrefix("/\($0.kind.rawValue)/") && id.hasSuffix("\($0.timestamp)")
                })
            else {
                throw BackupFailure(.notFound, "no metadata backup \(id)")
            }
            let backup = state.metadata[index]
            return (backup.metadata, backup.dataName, BytesSource(state.metadataContents[index]))
        }
    }

    func deleteMetadataBackup(_ id: String) async throws { try await step("delete metadata") }
    func close() async { state.withLock { $0.closes += 1 } }
}

private struct FakeTarget: VMBackupTarget {
    let repository: FakeRepository
    let vm: String

    func prepare(task: TaskNode) async throws {
        try await task.run("clean-vm") { _ in try await repository.step("prepare") }
    }

    func disksWithBase(_ bases: [String: String], jobID: String) async throws -> Set<String> {
        try await repository.step("disksWithBase")
        let stored = repository.backups(vm)
        return Set(bases.filter { base in stored.contains { $0.disks[base.value] != nil } }.keys)
    }

    func begin(_ plan: VMBackupPlan) async throws -> any VMBackupWriter {
        try await repository.step("begin")
        repository.state.withLock { $0.openWriters += 1 }
        return FakeWriter(repository: repository, vm: vm)
    }

    func applyRetention(
        _ rule: RetentionRule, mode: VMBackupMode, scheduleID: String, isBefore: Bool, task: TaskNode
    ) async throws {
        try await repository.step(isBefore ? "retention before" : "retention")
        repository.state.withLock { state in
            state.rules.append(rule)
            let same = (state.backups[vm] ?? []).filter {
                $0.metadata.mode == mode.rawValue && $0.metadata.scheduleID == scheduleID
            }
            let dropped = Set(same.dropLast(isBefore ? rule.count - 1 : rule.count).map(\.metadata.timestamp))
            state.backups[vm]?.removeAll { dropped.contains($0.metadata.timestamp) }
        }
    }

    func clean(task: TaskNode) async throws {
        try await task.run("clean-vm") { _ in try await repository.step("clean") }
    }

    func release() async {
        repository.state.withLock { state in
            precondition(state.lockedMachines.remove(vm) != nil, "released twice")
        }
    }
}

private final class FakeWriter: VMBackupWriter {
    private let repository: FakeRepository
    private let vm: String
    private let stored = Mutex(FakeRepository.Stored(metadata: VMBackupMetadata([:])))
    private let running = Atomic(0)

    init(repository: FakeRepository, vm: String) {
        self.repository = repository
        self.vm = vm
    }

    func write(xva: any ByteSource, maxByteCount: UInt64) async throws -> UInt64 {
        running.add(1, ordering: .relaxed)
        defer { running.subtract(1, ordering: .relaxed) }
        try await repository.step("write")
        let bytes = try await xva.readAll(limit: 1 << 20)
        try await repository.step("written")
        stored.withLock { $0.xva = bytes }
        return UInt64(bytes.count)
    }

    func write(disk: VMBackupDisk, from source: any DiskSource) async throws -> UInt64 {
        running.add(1, ordering: .relaxed)
        defer { running.subtract(1, ordering: .relaxed) }
        try await repository.step("write")
        var content: FakeHost.Content = [:]
        if source.isDifferencing {
            let base = repository.backups(vm).compactMap { $0.disks[disk.baseUUID ?? ""] }.first
            guard let base else { throw BackupFailure(.notFound, "no base") }
            content = base
        }
        var count: UInt64 = 0
        while let block = try await source.nextBlock() {
            content[block.index] = block.bytes[0]
            count += UInt64(DiskGeometry.blockBytes)
        }
        try await repository.step("written")
        stored.withLock { stored in
            stored.disks[disk.uuid] = content
            stored.transferred.insert(disk.uuid)
            if disk.baseUUID != nil { stored.deltas.insert(disk.uuid) }
        }
        return count
    }

    func commit(_ metadata: VMBackupMetadata) async throws -> String {
        precondition(running.load(ordering: .relaxed) == 0, "committed while it is written")
        try await repository.step("commit")
        let backup = stored.withLock { stored in
            stored.metadata = metadata
            return stored
        }
        repository.state.withLock { state in
            state.backups[vm, default: []].append(backup)
            state.openWriters -= 1
        }
        return "/xo-vm-backups/\(vm)/\(metadata.timestamp).json"
    }

    func abort() async {
        precondition(running.load(ordering: .relaxed) == 0, "aborted while it is written")
        repository.state.withLock { $0.openWriters -= 1 }
    }
}
