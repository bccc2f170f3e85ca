import BackupFormats
import Synchronization
import Tasks
import XenAPI

/// One backup of one machine, from the first look to the last tidying up. (Spec: xo-proxy §5.6.)
///
/// Whatever is changed on the host or begun on a remote is undone or finished by the part that did it, also after a
/// failure or a cancellation: locks of remotes, blocked operations, power, the snapshot.
struct MachineBackup: Sendable {
    let context: JobContext
    /// As they hold for this machine.
    let settings: JobSettings
    let host: any XenHost
    /// The machine as it was before the backup.
    let vm: XenRecord
    let task: TaskNode
    let repositories: [any XenRepository]

    var name: String { vm.fields["name_label"]?.stringValue ?? vm.uuid }

    func run() async throws {
        let mode = try mode()
        try refuse()
        let wanted = try wantedTargets()
        guard !wanted.isEmpty || settings.snapshotRetention > 0 else { return }
        tellWhatIsNotBuilt()
        let targets = await open(wanted, mode)
        try await ensuring({ for lane in wanted { await lane.release() } }) {
            guard !targets.isEmpty || wanted.isEmpty else {
                throw TargetLane.failure(of: wanted, step: "prepare")
            }
            let guarded = MigrationGuard(host: host, vm: vm)
            try await ensuring({ await guarded.restore(task) }) {
                try await guarded.block()
                try await backUp(mode, targets, guarded)
            }
        }
    }

    // MARK: Before

    private func mode() throws -> VMBackupMode {
        let word = context.job["mode"]?.stringValue ?? ""
        guard let mode = VMBackupMode(rawValue: word) else {
            throw BackupFailure(.invalidInput, "Job mode \(word) not implemented")
        }
        return mode
    }

    private func refuse() throws {
        if OwnReplica.isMade(by: context.jobID, vm.fields) {
            throw BackupFailure(.conflict, "cannot backup a VM created by this very job")
        }
        let running = vm.fields["current_operations"]?.objectValue?.members.compactMap(\.value.stringValue) ?? []
        if running.contains(where: { MigrationGuard.operations.contains($0) }) {
            throw BackupFailure(.conflict, "cannot backup a VM currently being migrated")
        }
        if settings.offlineBackup, settings.snapshotRetention > 0 {
            throw BackupFailure(.invalidInput, "offlineBackup is not compatible with rolling snapshot")
        }
    }

    /// The remotes that this machine goes to.
    private func wantedTargets() throws -> [TargetLane] {
        guard settings.exportRetention > 0 else { return [] }
        return try repositories.compactMap { repository in
            let settings = try context.levels.resolve(vm: vm.uuid, target: repository.remoteID)
            guard settings.exportRetention > 0 else { return nil }
            return TargetLane(
                repository: repository, rule: try settings.exportRule(), isRetentionFirst: settings.deleteFirst,
                wantsHealthCheck: settings.healthCheckStorage != nil)
        }
    }

    private func tellWhatIsNotBuilt() {
        if settings.preferNBD { task.info("NBD is not supported yet: disks are read by plain export") }
        if settings.cbtDestroySnapshotData {
            task.warning("changed block tracking is not supported yet: the data of snapshots is kept")
        }
        if settings.distributeBackups {
            task.warning("distributeBackups is not supported yet: the backup is written to every remote")
        }
    }

    /// Takes the locks of all targets and, for deltas, has them tidy up. A target that fails is left out.
    private func open(_ wanted: [TargetLane], _ mode: VMBackupMode) async -> [TargetLane] {
        await withTaskGroup(of: Void.self) { group in
            for lane in wanted {
                group.addTask {
                    do {
                        let target = try await lane.open(for: vm.uuid)
                        if mode == .delta { try await target.prepare(task: task) }
                    } catch {
                        await drop(lane, error, step: "prepare")
                    }
                }
            }
        }
        return wanted.filter(\.isAlive)
    }

    /// Leaves a target out of this backup: a warning for those who read, a failed export for those who count.
    func drop(_ lane: TargetLane, _ error: any Error, step: String) async {
        lane.fail(error)
        guard !isCancellation(error), !Task.isCancelled else { return await lane.release() }
        task.warning(
            "the remote \(lane.repository.name) is left out of this backup",
            ["remoteId": .string(lane.repository.remoteID), "step": .string(step), "error": TaskFailure.json(error)])
        await task.tell(error, as: "export", ["type": "remote", "id": .string(lane.repository.remoteID)])
        await lane.release()
    }

    // MARK: The backup

    private func backUp(_ mode: VMBackupMode, _ opened: [TargetLane], _ guarded: MigrationGuard) async throws {
        let snapshots = JobSnapshots(backup: self)
        let before = try await snapshots.find()
        let base: BaseChoice? =
            mode == .delta && !opened.isEmpty
            ? try await BaseSearch(backup: self, snapshots: before).choose(opened) : nil
        let lanes = opened.filter(\.isAlive)
        try await snapshots.forgetMarksOfMachine()
        await snapshots.applyRetention(to: before, keeping: base?.snapshot)
        await snapshots.removeLeftovers()
        try await makeRoom(on: lanes, mode)

        let power = MachinePower(host: host, vm: vm)
        let outcome = SnapshotOutcome()
        try await ensuring({ await power.restore(task) }) {
            try await ensuring({ await settle(snapshots, outcome) }) {
                let machine = try await export(mode, power, outcome)
                guard !lanes.isEmpty else { return outcome.succeed() }
                // What is exported must not say that it is being backed up.
                if !machine.isSnapshot { await guarded.restore(task) }
                try await MachineTransfer(backup: self, mode: mode, machine: machine, base: base, lanes: lanes).run()
                outcome.succeed()
            }
        }
    }

    /// `deleteFirst`.
    private func makeRoom(on lanes: [TargetLane], _ mode: VMBackupMode) async throws {
        for lane in lanes where lane.isRetentionFirst {
            do {
                try await lane.target().applyRetention(
                    lane.rule, mode: mode, scheduleID: context.scheduleID, isBefore: true, task: task)
            } catch {
                await drop(lane, error, step: "deleteFirst")
            }
        }
        guard lanes.isEmpty || lanes.contains(where: \.isAlive) else {
            throw TargetLane.failure(of: lanes, step: "deleteFirst")
        }
    }

    /// Steps 7 to 9: what will be exported, a snapshot or the machine itself.
    private func export(
        _ mode: VMBackupMode, _ power: MachinePower, _ outcome: SnapshotOutcome
    ) async throws -> ExportedMachine {
        let isOffline = settings.offlineBackup
        let disks = try await LiveDisk.all(of: vm, host)
        let needsSnapshot =
            mode == .delta || (power.wasRunning && !isOffline) || settings.snapshotRetention > 0
            || settings.unconditionalSnapshot || disks.contains(where: \.isIgnored)
        if needsSnapshot, !settings.bypassVDIChainsCheck { try await ChainCheck(host: host).run(disks) }
        if isOffline || (needsSnapshot && (settings.offlineSnapshot || vm.hasTag("xo-offline-backup"))) {
            try await power.shutDown()
        }
        let stamp = context.shared.timestamp(of: vm.uuid)
        guard needsSnapshot else { return try await ExportedMachine.load(vm.reference, isSnapshot: false, stamp, host) }
        let snapshot = try await SnapshotTaking(backup: self, disks: disks, stamp: stamp).run(outcome)
        if !isOffline { await power.restore(task) }
        return try await ExportedMachine.load(snapshot, isSnapshot: true, stamp, host)
    }

    /// Destroys the snapshot of a run that came to nothing, and those that retention no longer keeps.
    private func settle(_ snapshots: JobSnapshots, _ outcome: SnapshotOutcome) async {
        if let snapshot = outcome.useless(keepsFailed: settings.snapshotRetention > 0 && !task.isCancelled) {
            await snapshots.destroy(snapshot)
        }
        do {
            await snapshots.applyRetention(to: try await snapshots.find(), keeping: nil)
        } catch {
            task.warning("old snapshots could not be looked for", TaskFailure.json(error))
        }
    }
}

/// What became of the snapshot of one run.
final class SnapshotOutcome: Sendable {
    private struct State {
        var snapshot: String?
        var isDone = false
    }

    private let state = Mutex(State())

    /// The snapshot exists.
    func made(_ reference: String) { state.withLock { $0.snapshot = reference } }
    /// The run has done what it was for.
    func succeed() { state.withLock { $0.isDone = true } }

    /// The snapshot, where nobody has a use for it.
    func useless(keepsFailed: Bool) -> String? {
        state.withLock { $0.isDone || keepsFailed ? nil : $0.snapshot }
    }
}

/// Runs `cleanup` after `body`, however that ends, whether or not the task is cancelled.
func ensuring<Value>(
    _ cleanup: @escaping @Sendable () async -> Void, _ body: () async throws -> Value
) async throws -> Value {
    do {
        let value = try await body()
        await inAnyCase(cleanup)
        return value
    } catch {
        await inAnyCase(cleanup)
        throw error
    }
}
