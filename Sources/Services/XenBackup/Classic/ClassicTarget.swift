import BackupFormats
import Tasks

/// One machine's folder under its lock. (Spec: xo-proxy §4.7, §4.9, §4.10.)
final class ClassicTarget: VMBackupTarget {
    private let repository: ClassicRepository
    private let folder: MachineFolder
    private let lock: any RemoteLock

    init(repository: ClassicRepository, folder: MachineFolder, lock: any RemoteLock) {
        self.repository = repository
        self.folder = folder
        self.lock = lock
    }

    func prepare(task: TaskNode) async throws { try await clean(task: task) }

    func clean(task: TaskNode) async throws {
        guard folder.files.capabilities.isFileSystem else { return }
        try await ClassicClean(repository: repository, folder: folder, lock: lock).run(task, merges: true)
    }

    func disksWithBase(_ bases: [String: String], jobID: String) async throws -> Set<String> {
        guard folder.files.capabilities.isFileSystem, ClassicPath.isName(jobID) else { return [] }
        var found: Set<String> = []
        for (live, base) in bases where ClassicPath.isName(live) {
            let disks = DiskFolder(machine: folder, job: jobID, disk: live)
            if try await disks.usableDisk(uuid: base) != nil { found.insert(live) }
        }
        return found
    }

    func begin(_ plan: VMBackupPlan) async throws -> any VMBackupWriter {
        guard plan.mode == .full || folder.files.capabilities.isFileSystem else {
            throw BackupFailure(
                .unsupported, "Delta backups to object stores are not supported yet",
                hints: ["Use full backups, or a chunk store."])
        }
        guard plan.mode == .full || !folder.files.capabilities.usesBlockFolders else {
            throw BackupFailure(
                .unsupported, "Delta backups as VHD directories (useVhdDirectory) are not supported yet",
                hints: ["Take the option out of the remote's settings, or use a chunk store."])
        }
        try ClassicPath.requireName(plan.jobID, of: "job")
        try lock.requireHeld()
        let writer = ClassicWriter(folder: folder, plan: plan, lock: lock)
        guard try await !folder.names().contains(writer.metadataName) else {
            throw BackupFailure(.conflict, "There is already a backup \(folder.id(writer.metadataName))")
        }
        return writer
    }

    func applyRetention(
        _ rule: RetentionRule, mode: VMBackupMode, scheduleID: String, isBefore: Bool, task: TaskNode
    ) async throws {
        try lock.requireHeld()
        var seen: Set<Int64> = []
        let backups = try await folder.backups(isProtected: false).filter { backup in
            backup.metadata.mode == mode.rawValue && backup.metadata.scheduleID == scheduleID
                && seen.insert(backup.metadata.timestamp).inserted
        }
        var dropped = try RetentionTable.dropped(backups.map(\.metadata.timestamp), by: rule, isBefore: isBefore)
            .map { backups[$0] }
        if mode == .delta, let limit = rule.maxMergedDeltas { dropped = Array(dropped.prefix(max(0, limit))) }
        // Newest first: an interruption leaves no gap inside a chain.
        for backup in dropped.reversed() {
            let name = ClassicPath.name(of: backup.id)
            do {
                try await folder.files.remove(folder.path(name))
                await ClassicCache(folder: folder).update([name: nil])
                if mode == .full, let data = folder.dataPath(of: backup.metadata) {
                    try await folder.files.remove(data)
                    try await folder.files.remove(data + XVAChecksum.suffix)
                }
            } catch {
                // Files may be protected by others: the new backup is none the worse for it.
                try Task.checkCancellation()
                try lock.requireHeld()
                task.warning("An old backup cannot be removed: \(error)", ["path": .string(backup.id)])
            }
        }
    }

    func release() async {
        let lock = lock
        // Also when the work is cancelled.
        await Task { await lock.release() }.value
    }
}

extension RemoteLock {
    /// - Throws: ``BackupFailure`` of kind `conflict` where another took the lock over meanwhile.
    func requireHeld() throws {
        guard isHeld else {
            throw BackupFailure(
                .conflict, "The lock of the machine was lost to another",
                hints: ["The remote or this server stood still for a while; the next run repeats the backup."])
        }
    }
}
