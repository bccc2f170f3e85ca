package import BackupFormats
import Platform

extension Datastore {
    /// Begins a snapshot: takes the locks, finds the base and makes the staged folder. (Spec: protocol A.5, steps 5
    /// to 11, in this order; design decision 1.)
    ///
    /// - Parameter requestedBase: A finished snapshot of the same group to build on instead of the newest, for
    ///   sessions inside this process.
    /// - Throws: ``BackupFailure``: `notFound` where the namespace does not exist; `conflict` where the group or the
    ///   base is locked, belongs to somebody else, or the snapshot exists; `invalidInput` for a time that is not after
    ///   the newest snapshot's, and where benchmark flag and group do not fit; `corruptData` where the newest
    ///   manifest cannot be read; `storageFull` below the free space that is kept.
    package func beginSnapshot(
        _ request: SnapshotRequest, requestedBase: SnapshotName? = nil
    ) throws -> SnapshotStage {
        try requireWritable()
        let (namespace, snapshot, group) = (request.namespace, request.snapshot, request.snapshot.group)
        let label = text(snapshot, in: namespace)
        guard try namespaceExists(namespace) else {
            throw BackupFailure(.notFound, "Namespace '\(namespace)' does not exist in datastore \(name)")
        }
        guard request.isBenchmark == (group == .benchmark) else {
            throw BackupFailure(
                .invalidInput,
                request.isBenchmark
                    ? "A benchmark writes to group \(BackupGroup.benchmark) only, not to \(group)"
                    : "Group \(BackupGroup.benchmark) is reserved for benchmarks")
        }
        try requireRoom()
        let purpose = "the backup of task \(request.task)"
        let groupLock = try sessions.lock(group, in: namespace, purpose: purpose)
        do {
            if !request.isBenchmark { try requireOwner(request.owner, of: group, in: namespace) }
            let base = try findBase(of: group, in: namespace, before: snapshot, requested: requestedBase)
            let baseLock = try base.map { try sessions.lock($0, in: namespace, .shared, purpose: purpose) }
            // It may have been removed before the lock was there.
            if let base, try !isFinished(base, in: namespace) { throw BackupFailure.missing(base, in: namespace) }
            guard
                try storing(
                    "Snapshot \(label) cannot be begun",
                    { try !FileSystem.exists(layout.folder(of: snapshot, in: namespace)) })
            else { throw BackupFailure(.conflict, "Snapshot \(label) exists already") }
            return try SnapshotStage(self, request, base: base, groupLock: groupLock, baseLock: baseLock)
        } catch {
            groupLock.release()
            throw error
        }
    }

    private func requireRoom() throws {
        let space = try usage()
        let minimum = options.minimumFreeByteCount ?? min(1 << 30, space.total / 100)
        guard space.available >= minimum else {
            throw BackupFailure(
                .storageFull, "Datastore \(name) has \(space.available) bytes left, and new backups need \(minimum)",
                hints: ["Remove snapshots and collect garbage."])
        }
    }

    /// The owner may write, and a user whose token is the owner; a token may not write for its user.
    private func requireOwner(_ identity: AuthID, of group: BackupGroup, in namespace: Namespace) throws {
        guard let owner = try storedOwner(of: group, in: namespace) else { return }
        guard owner == identity || (owner.isToken && owner.user == identity) else {
            throw BackupFailure(
                .conflict, "Group \(text(group, in: namespace)) belongs to \(owner), not to \(identity)")
        }
    }

    /// The newest finished snapshot, unless its verification failed; the new one must be later.
    private func findBase(
        of group: BackupGroup, in namespace: Namespace, before snapshot: SnapshotName, requested: SnapshotName?
    ) throws -> SnapshotName? {
        guard let newest = try finishedSnapshots(of: group, in: namespace).last else {
            if let requested { throw BackupFailure.missing(requested, in: namespace) }
            return nil
        }
        guard snapshot.time > newest.time else {
            throw BackupFailure(
                .invalidInput,
                "Snapshot \(text(snapshot, in: namespace)) is not later than the newest of its group, \(newest.timeText)"
            )
        }
        if let requested {
            guard requested.group == group else {
                throw BackupFailure(.invalidInput, "The base \(requested) is of another group than \(snapshot)")
            }
            _ = try manifest(of: requested, in: namespace)
            return requested
        }
        return try manifest(of: newest, in: namespace).verifyState?.outcome == .failed ? nil : newest
    }
}
