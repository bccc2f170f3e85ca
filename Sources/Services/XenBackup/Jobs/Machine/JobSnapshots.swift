import BackupFormats
import Tasks
import XenAPI

/// A snapshot that this job made of the machine.
struct JobSnapshot: Sendable {
    let reference: String
    /// Of the snapshot; whether it was exported may stand on its disks instead.
    var marks: BackupMarks
    let disks: [SnapshotDisk]
}

/// A disk of a snapshot.
struct SnapshotDisk: Sendable {
    let disk: LiveDisk
    /// The live disk that it was taken of, where that still exists.
    let liveReference: String?
}

/// The snapshots of one machine that a job made, known by their marks. (Spec: xo-proxy §5.6 steps 4, 6, 12; §5.7.)
struct JobSnapshots: Sendable {
    /// What a snapshot is called until it has its marks; one that is found later is left from an interrupted run.
    static let temporaryName = "xo-backup-temp-snapshot-name"

    let backup: MachineBackup

    private var host: any XenHost { backup.host }
    private var task: TaskNode { backup.task }

    /// All of them, the oldest first.
    func find() async throws -> [JobSnapshot] {
        var found: [JobSnapshot] = []
        try await each { reference, record in
            let snapshot = XenRecord(reference, record)
            let disks = try await LiveDisk.all(of: snapshot, host)
            // In 2021 only the snapshot carried marks; today its disks do too, and their word on `exported` counts.
            let onDisks = disks.compactMap { BackupMarks($0.record["other_config"]?.objectValue) }
            guard var marks = BackupMarks(record["other_config"]?.objectValue) ?? onDisks.first,
                marks.jobID == backup.context.jobID, marks.vm == backup.vm.uuid
            else { return }
            let same = onDisks.filter { $0.datetime == marks.datetime }
            marks.isExported = marks.isExported || same.contains(where: \.isExported)
            marks.chainLength = marks.chainLength ?? same.compactMap(\.chainLength).max()
            found.append(
                JobSnapshot(
                    reference: reference, marks: marks,
                    disks: disks.map {
                        SnapshotDisk(disk: $0, liveReference: XenReference.of($0.record["snapshot_of"]))
                    }))
        }
        return found.sorted { $0.marks.datetime < $1.marks.datetime }
    }

    /// Destroys what is more than `snapshotRetention` of each schedule. What the next delta builds on stays: the newest
    /// that was exported, in mode delta, and `base`.
    func applyRetention(to snapshots: [JobSnapshot], keeping base: JobSnapshot?) async {
        var kept: Set<String> = base.map { [$0.reference] } ?? []
        if backup.context.job["mode"]?.stringValue == VMBackupMode.delta.rawValue,
            let newest = snapshots.last(where: \.marks.isExported)
        {
            kept.insert(newest.reference)
        }
        for (schedule, group) in Dictionary(grouping: snapshots, by: \.marks.scheduleID) {
            // Where nobody can say how many stay, all do.
            guard
                let retention = try? backup.context.levels.resolve(vm: backup.vm.uuid, schedule: schedule)
                    .snapshotRetention
            else { continue }
            for snapshot in group.dropLast(retention) where !kept.contains(snapshot.reference) {
                await destroy(snapshot.reference)
            }
        }
    }

    /// Destroys what an interrupted run left behind, or a snapshot that was made although it was cancelled.
    func removeLeftovers() async {
        do {
            try await each { reference, record in
                if record["name_label"]?.stringValue == Self.temporaryName { await destroy(reference) }
            }
        } catch {
            task.warning("unfinished snapshots could not be looked for", TaskFailure.json(error))
        }
    }

    /// Removes marks from the live machine, which a copy or a restore may have left there.
    func forgetMarksOfMachine() async throws {
        for member in backup.vm.fields["other_config"]?.objectValue?.members ?? []
        where BackupMarkKey.isMark(member.name) {
            try await host.setOtherConfig("VM", backup.vm.reference, member.name, nil)
        }
    }

    /// A failure is a warning: the snapshot is tried again in the next run.
    func destroy(_ reference: String) async {
        do {
            try await host.destroyMachine(reference)
        } catch {
            guard !isCancellation(error) else { return }
            task.warning("a snapshot could not be destroyed", TaskFailure.json(error))
        }
    }

    private func each(_ body: (String, JSONObject) async throws -> Void) async throws {
        for item in try await host.field("VM", backup.vm.reference, "snapshots").arrayValue ?? [] {
            guard let reference = XenReference.of(item) else { continue }
            try await host.unlessGone { try await body(reference, try await host.record("VM", reference)) }
        }
    }
}
