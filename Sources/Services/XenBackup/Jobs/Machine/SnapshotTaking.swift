import BackupFormats
import Tasks
import XenAPI

/// Takes the snapshot that is exported: under a temporary name, until it carries its marks. (Spec: xo-proxy §5.6 step 8,
/// §5.7.)
struct SnapshotTaking: Sendable {
    let backup: MachineBackup
    /// Of the live machine.
    let disks: [LiveDisk]
    /// Unix milliseconds.
    let stamp: Int64

    private var host: any XenHost { backup.host }

    /// The task `snapshot`; its result is the snapshot's uuid. After a failure there is no snapshot.
    ///
    /// - Returns: The snapshot's reference.
    func run(_ outcome: SnapshotOutcome) async throws -> String {
        let made = try await backup.task.run("snapshot", result: { .string($0.uuid) }) { _ in
            do {
                let reference = try await take()
                outcome.made(reference)
                try Task.checkCancellation()
                return XenRecord(reference, ["uuid": .string(try await dress(reference))])
            } catch {
                // The host may have made it although it was told to stop.
                await inAnyCase { await JobSnapshots(backup: backup).removeLeftovers() }
                throw error
            }
        }
        return made.reference
    }

    private func take() async throws -> String {
        let ignored = disks.filter(\.isIgnored).map(\.reference)
        let machine = backup.vm.reference
        if backup.settings.checkpointSnapshot || backup.vm.hasTag("xo-memory-backup") {
            return try await host.checkpointMachine(machine, name: JobSnapshots.temporaryName, ignoring: ignored)
        }
        return try await host.snapshotMachine(machine, name: JobSnapshots.temporaryName, ignoring: ignored)
    }

    /// Puts marks on the snapshot and its disks, and gives it its name last.
    ///
    /// - Returns: The snapshot's uuid.
    private func dress(_ reference: String) async throws -> String {
        let record = try await host.record("VM", reference)
        if record["is_a_template"]?.boolValue == true { try await makeMachine(reference) }
        for member in record["blocked_operations"]?.objectValue?.members ?? [] where MigrationGuard.isOurs(member.value)
        {
            _ = try await host.call("VM.remove_from_blocked_operations", [.string(reference), .string(member.name)])
        }
        try await mark("VM", reference, record)
        for disk in try await LiveDisk.all(of: XenRecord(reference, record), host) {
            try await mark("VDI", disk.reference, disk.record)
        }
        let name = backup.context.configuration.snapshotName.fill(job: backup.context.job, vm: backup.vm.fields)
        try await host.setField("VM", reference, "name_label", .string(name))
        return record["uuid"]?.stringValue ?? ""
    }

    private func makeMachine(_ reference: String) async throws {
        do {
            try await host.setField("VM", reference, "is_a_template", false)
        } catch let failure as XenFailure where failure.code == "LICENSE_RESTRICTION" {
            // Such hosts keep snapshots as templates; they are exported all the same.
        }
    }

    /// Sets the marks; those that came along from the live object go.
    private func mark(_ kind: String, _ reference: String, _ record: JSONObject) async throws {
        let marks = BackupMarks(
            jobID: backup.context.jobID, scheduleID: backup.context.scheduleID, vm: backup.vm.uuid,
            datetime: XenDate.text(stamp)
        ).initialMembers
        for member in record["other_config"]?.objectValue?.members ?? []
        where BackupMarkKey.isMark(member.name) && !marks.contains(where: { $0.key == member.name }) {
            try await host.setOtherConfig(kind, reference, member.name, nil)
        }
        for (key, value) in marks { try await host.setOtherConfig(kind, reference, key, value) }
    }
}
