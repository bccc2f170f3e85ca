import BackupClient
import BackupFormats
import BackupProtocol
import Logging
import Synchronization
import Tasks

/// What a delta builds on: a snapshot, and which of its archives holds which state of which disk.
struct ChosenBase: Sendable {
    struct Disk: Sendable {
        let liveUUID: String
        /// The disk of the host's snapshot whose content it is.
        let uuid: String
        let archive: ArchiveName
    }

    let snapshot: SnapshotName
    let disks: [Disk]

    func disk(_ liveUUID: String, at uuid: String) -> Disk? {
        disks.first { $0.liveUUID == liveUUID && $0.uuid == uuid }
    }
}

/// The backups of one machine in a datastore, as long as a run works on them.
final class ChunkStoreTarget: VMBackupTarget {
    private struct State {
        var base: ChosenBase?
        /// What retention drops once the new backup is there, since that is built on it.
        var postponed: SnapshotName?
    }

    let group: BackupGroup
    let repository: ChunkStoreRepository
    private let lock: GroupLock
    private let state = Mutex(State())

    private var connection: any ChunkStoreConnection { repository.connection }

    init(_ group: BackupGroup, in repository: ChunkStoreRepository, lock: GroupLock) {
        self.group = group
        self.repository = repository
        self.lock = lock
    }

    func prepare(task: TaskNode) async throws {
        // There is never anything to repair or to merge.
        try await task.run("clean-vm") { _ in }
    }

    func release() async { lock.release() }

    // MARK: The base

    /// All disks of a backup build on the same snapshot: that which has most of the bases.
    func disksWithBase(_ bases: [String: String], jobID: String) async throws -> Set<String> {
        state.withLock { $0.base = nil }
        let snapshots = try await connection.snapshots(of: group)
        let candidates = connection.takesAnyBase ? snapshots : snapshots.suffix(1)
        var best: (base: ChosenBase, disks: [ChosenBase.Disk])?
        for (snapshot, backup) in try await repository.backups(in: candidates).reversed() {
            let base = Self.base(snapshot, backup.metadata)
            let disks = bases.compactMap { base.disk($0.key, at: $0.value) }
            if disks.count > (best?.disks.count ?? 0) { best = (base, disks) }
        }
        guard let best else {
            if !connection.takesAnyBase, !bases.isEmpty, snapshots.count > 1 {
                repository.stores.logger.notice(
                    "disks are sent whole: their base is not the newest snapshot at the other server",
                    metadata: ["store": "\(connection.address.label)", "group": "\(group)"])
            }
            return []
        }
        var sound: Set<String> = []
        for disk in best.disks where try await connection.isSound(disk.archive, of: best.base.snapshot) {
            sound.insert(disk.liveUUID)
        }
        state.withLock { $0.base = sound.isEmpty ? nil : best.base }
        return sound
    }

    private static func base(_ snapshot: StoredSnapshot, _ metadata: VMBackupMetadata) -> ChosenBase {
        let archives = metadata.json["chunkStore"]?["archives"]
        let disks = metadata.vdis.members.compactMap { member -> ChosenBase.Disk? in
            let record = member.value
            guard let uuid = record["uuid"]?.stringValue, let live = record["$snapshot_of$uuid"]?.stringValue,
                let archive = archives?[member.name]?.stringValue.flatMap({ ArchiveName($0) }), snapshot.has(archive)
            else { return nil }
            return ChosenBase.Disk(liveUUID: live, uuid: uuid, archive: archive)
        }
        return ChosenBase(snapshot: snapshot.name, disks: disks)
    }

    // MARK: Writing

    func begin(_ plan: VMBackupPlan) async throws -> any VMBackupWriter {
        let base = plan.mode == .delta ? state.withLock { $0.base } : nil
        let (snapshot, transport) = try await repository.openSession(
            of: group, at: plan.timestamp / 1000, base: base?.snapshot)
        let upload = SnapshotUpload(
            snapshot, transport: transport, protection: .none, memoryLimit: ChunkStoreWriter.memoryLimit,
            warn: { [logger = repository.stores.logger] in logger.notice("\($0)", metadata: ["group": "\(snapshot)"]) })
        do {
            let previous = try await upload.loadPrevious()
            if let base, previous != base.snapshot.time {
                throw BackupFailure(
                    .conflict,
                    "\(base.snapshot) is no longer what a new backup in \(connection.address.label) builds on",
                    hints: ["Another server writes to the same group: run the job again."])
            }
        } catch {
            await transport.close()
            throw error
        }
        return ChunkStoreWriter(plan, target: self, base: base, upload: upload, transport: transport)
    }

    /// A backup is there.
    func committed() async {
        let postponed = state.withLock { state -> SnapshotName? in
            defer { state = State() }
            return state.postponed
        }
        guard let postponed else { return }
        do {
            try await repository.remove(postponed)
        } catch {
            repository.stores.logger.notice(
                "an old backup stays until the next run",
                metadata: ["store": "\(connection.address.label)", "snapshot": "\(postponed)", "reason": "\(error)"])
        }
    }

    // MARK: Retention

    func applyRetention(
        _ rule: RetentionRule, mode: VMBackupMode, scheduleID: String, isBefore: Bool, task: TaskNode
    ) async throws {
        let all = try await repository.backups(in: try await connection.snapshots(of: group))
        var times: Set<Int64> = []
        let own = all.filter { item in
            let metadata = item.backup.metadata
            return !item.snapshot.isProtected && metadata.mode == mode.rawValue && metadata.scheduleID == scheduleID
                && times.insert(metadata.timestamp).inserted
        }.sorted { $0.backup.metadata.timestamp < $1.backup.metadata.timestamp }
        let base = isBefore ? state.withLock { $0.base?.snapshot } : nil
        for place in try RetentionTable.dropped(
            own.map(\.backup.metadata.timestamp), by: rule, isBefore: isBefore)
        {
            let name = own[place].snapshot.name
            if name == base {
                state.withLock { $0.postponed = name }
                continue
            }
            do {
                try await repository.remove(name)
            } catch let failure as BackupFailure where failure.kind == .conflict {
                task.warning("\(name) stays until the next run", ["reason": .string(failure.description)])
            }
        }
    }

    func clean(task: TaskNode) async throws {
        try await task.run("clean-vm") { _ in }
    }
}
