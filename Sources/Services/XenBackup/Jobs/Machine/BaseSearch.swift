import BackupFormats
import Tasks
import XenAPI

/// What a delta is relative to.
struct BaseChoice: Sendable {
    let snapshot: JobSnapshot
    /// The base's disks, by the uuid of the live disk.
    let disks: [String: LiveDisk]
    /// Deltas since the last full one, of the base.
    let chainLength: Int
}

/// Finds the snapshot that host and all targets still share, and says why where there is none.
/// (Spec: xo-proxy §5.6 step 5, §8 point 10.)
struct BaseSearch {
    let backup: MachineBackup
    /// The oldest first.
    let snapshots: [JobSnapshot]

    /// The base, or nil for a full backup. Targets that cannot say what they hold are left out.
    ///
    /// - Throws: ``BackupFailure`` where no target is left.
    func choose(_ lanes: [TargetLane]) async throws -> BaseChoice? {
        guard let newest = snapshots.last(where: \.marks.isExported) else {
            if snapshots.isEmpty {
                tell("no earlier snapshot of this job is on the machine", isExpected: true)
            } else {
                tell("no earlier snapshot of this job was exported", isExpected: false)
            }
            return nil
        }
        let interval = backup.settings.fullInterval
        let chainLength = newest.marks.chainLength ?? 0
        if interval > 0, interval <= chainLength + 1 {
            tell("fullInterval \(interval) is reached", isExpected: true)
            return nil
        }
        var reasons: [String: String] = [:]
        var bases: [String: LiveDisk] = [:]
        let disks = try await LiveDisk.all(of: backup.vm, backup.host).filter { !$0.isIgnored }
        for disk in disks {
            let base = newest.disks.first { $0.liveReference == disk.reference }?.disk
            if let reason = Self.obstacle(disk, base) { reasons[disk.uuid] = reason } else { bases[disk.uuid] = base }
        }
        let held = try await ask(lanes, bases.mapValues(\.uuid), &reasons)
        bases = bases.filter { held.contains($0.key) }
        guard !bases.isEmpty || disks.isEmpty else {
            tell(disks.compactMap { reasons[$0.uuid] }.first ?? "no disk has a base", isExpected: false)
            return nil
        }
        for disk in disks {
            guard let reason = reasons[disk.uuid] else { continue }
            backup.task.info(
                "the disk is transferred in full", ["disk": .string(disk.name), "reason": .string(reason)])
        }
        return BaseChoice(snapshot: newest, disks: bases, chainLength: chainLength)
    }

    /// Why the host cannot tell the difference between a base and the disk now; nil: it can.
    private static func obstacle(_ disk: LiveDisk, _ base: LiveDisk?) -> String? {
        guard let base else { return "disk \(disk.name) is not in the last exported snapshot" }
        if base.record["type"]?.stringValue == "cbt_metadata" {
            return "the data of the last snapshot of \(disk.name) is gone"
        }
        if base.storage != disk.storage { return "disk \(disk.name) has moved to another storage" }
        if base.size > disk.size { return "disk \(disk.name) has shrunk" }
        return nil
    }

    /// The live disks whose base is on every target.
    private func ask(
        _ lanes: [TargetLane], _ bases: [String: String], _ reasons: inout [String: String]
    ) async throws -> Set<String> {
        var held = Set(bases.keys)
        guard !bases.isEmpty else { return held }
        for lane in lanes {
            do {
                let here = try await lane.target().disksWithBase(bases, jobID: backup.context.jobID)
                for disk in held.subtracting(here) {
                    reasons[disk] = "the remote \(lane.repository.name) does not hold the base of disk \(disk)"
                }
                held.formIntersection(here)
            } catch {
                await backup.drop(lane, error, step: "check the base")
            }
        }
        guard lanes.contains(where: \.isAlive) else { throw TargetLane.failure(of: lanes, step: "check the base") }
        return held
    }

    private func tell(_ reason: String, isExpected: Bool) {
        if isExpected {
            backup.task.info("full backup", ["reason": .string(reason)])
        } else {
            backup.task.warning("Backup fell back to a full", ["reason": .string(reason)])
        }
    }
}
