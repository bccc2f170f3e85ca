package import BackupFormats
import Platform

/// A snapshot that a session writes just now.
package struct RunningSnapshot: Hashable, Sendable {
    package let namespace: Namespace
    package let snapshot: SnapshotName
    package let owner: AuthID
    /// The UPID of the session's task.
    package let task: String
    /// The finished snapshot that the session builds on.
    package let base: SnapshotName?
    package let isBenchmark: Bool
    /// Unix seconds at which the session began.
    package let startTime: Int64
    /// The folder that the snapshot is staged in.
    let folder: String
}

/// Who uses what in a store: running sessions, and locks on groups, snapshots and manifests. It lives in memory, since
/// one process alone opens a store for writing; whatever creates, removes, renames or protects asks it, not the disk.
/// (Design decision 1.2.)
///
/// Locks are taken without waiting, except those on manifests.
package final class SessionRegistry: Sendable {
    /// How long a manifest lock is waited for.
    private static let manifestPatienceSeconds = 5

    struct GroupKey: Hashable, Sendable {
        let namespace: Namespace
        let group: BackupGroup
    }

    struct SnapshotKey: Hashable, Sendable {
        let namespace: Namespace
        let snapshot: SnapshotName
    }

    enum Sharing: Sendable { case shared, exclusive }

    /// Holders of one lock, each with what it does, in the words of a failure.
    private struct Holders {
        var exclusive: String?
        var shared: [ObjectIdentifier: String] = [:]
        var isFree: Bool { exclusive == nil && shared.isEmpty }
        var words: String { exclusive ?? shared.values.sorted().first ?? "" }
    }

    private struct State {
        var running: [SnapshotKey: RunningSnapshot] = [:]
        var groups: [GroupKey: String] = [:]
        var snapshots: [SnapshotKey: Holders] = [:]
        var manifests: Set<SnapshotKey> = []
        var vanishing: [Namespace] = []
        var isClosed = false
    }

    private let state = Monitor(State())

    init() {}

    // MARK: Running sessions

    /// The snapshots being written in a namespace and below, sorted.
    package func running(below namespace: Namespace = .root) -> [RunningSnapshot] {
        state.withLock { state in
            state.running.values.filter { namespace.contains($0.namespace) }
        }.sorted { ($0.namespace, $0.snapshot) < ($1.namespace, $1.snapshot) }
    }

    package func running(_ snapshot: SnapshotName, in namespace: Namespace) -> RunningSnapshot? {
        state.withLock { $0.running[SnapshotKey(namespace: namespace, snapshot: snapshot)] }
    }

    /// Sessions that write.
    package var activeCount: Int { state.withLock { $0.running.count } }

    /// Locks of those who read finished snapshots, without the bases of sessions.
    package var readerCount: Int {
        state.withLock { state in
            let shared = state.snapshots.values.reduce(0) { $0 + $1.shared.count }
            return max(0, shared - state.running.values.count { $0.base != nil })
        }
    }

    /// Refuses what only works on finished snapshots. (Design decision 1.6.)
    func requireNotRunning(_ snapshot: SnapshotName, in namespace: Namespace) throws {
        if let running = running(snapshot, in: namespace) { throw BackupFailure.beingWritten(running) }
    }

    /// Enters a session, which is an exclusive lock on its snapshot.
    func add(_ running: RunningSnapshot) throws {
        let key = SnapshotKey(namespace: running.namespace, snapshot: running.snapshot)
        try state.withLock { state throws(BackupFailure) in
            if state.isClosed { throw BackupFailure(.conflict, "The datastore is being closed") }
            if let other = state.running[key] { throw BackupFailure.beingWritten(other) }
            if let holders = state.snapshots[key] {
                throw Self.inUse("Snapshot \(text(running.snapshot, in: running.namespace))", holders.words)
            }
            try Self.refuseVanishing(running.namespace, state)
            state.running[key] = running
        }
    }

    func remove(_ running: RunningSnapshot) {
        state.withLock { state in
            state.running[SnapshotKey(namespace: running.namespace, snapshot: running.snapshot)] = nil
        }
    }

    /// Ends a session whose snapshot was published, and takes a shared lock on the snapshot in the same moment.
    /// (Design decision 1.9.)
    func handOver(_ running: RunningSnapshot, purpose: String) -> StoreLock {
        let key = SnapshotKey(namespace: running.namespace, snapshot: running.snapshot)
        let token = Token()
        state.withLock { state in
            state.running[key] = nil
            state.snapshots[key, default: Holders()].shared[ObjectIdentifier(token)] = purpose
        }
        return release(key, token)
    }

    /// From now on no session begins.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while a session writes or a snapshot is in use.
    func close() throws {
        try state.withLock { state throws(BackupFailure) in
            if let running = state.running.values.first { throw BackupFailure.beingWritten(running) }
            if let (key, holders) = state.snapshots.first {
                throw Self.inUse("Snapshot \(text(key.snapshot, in: key.namespace))", holders.words)
            }
            state.isClosed = true
        }
    }

    // MARK: Locks

    /// An exclusive lock.
    ///
    /// - Parameter purpose: What the holder does, for the failures of others: "the backup of task UPID:…".
    /// - Throws: ``BackupFailure`` of kind `conflict`.
    func lock(_ group: BackupGroup, in namespace: Namespace, purpose: String) throws -> StoreLock {
        let key = GroupKey(namespace: namespace, group: group)
        try state.withLock { state throws(BackupFailure) in
            if let holder = state.groups[key] { throw Self.inUse("Group \(text(group, in: namespace))", holder) }
            try Self.refuseVanishing(namespace, state)
            state.groups[key] = purpose
        }
        return StoreLock { [state] in state.withLock { $0.groups[key] = nil } }
    }

    /// - Throws: ``BackupFailure`` of kind `conflict`; it says which task writes the snapshot where one does.
    func lock(
        _ snapshot: SnapshotName, in namespace: Namespace, _ sharing: Sharing, purpose: String
    ) throws -> StoreLock {
        let key = SnapshotKey(namespace: namespace, snapshot: snapshot)
        let token = Token()
        try state.withLock { state throws(BackupFailure) in
            if let running = state.running[key] { throw BackupFailure.beingWritten(running) }
            try Self.refuseVanishing(namespace, state)
            var holders = state.snapshots[key] ?? Holders()
            guard sharing == .shared ? holders.exclusive == nil : holders.isFree else {
                throw Self.inUse("Snapshot \(text(snapshot, in: namespace))", holders.words)
            }
            if sharing == .shared {
                holders.shared[ObjectIdentifier(token)] = purpose
            } else {
                holders.exclusive = purpose
            }
            state.snapshots[key] = holders
        }
        return release(key, sharing == .shared ? token : nil)
    }

    /// - Parameter token: Who shares the lock; nil where it is held exclusively.
    private func release(_ key: SnapshotKey, _ token: Token?) -> StoreLock {
        StoreLock { [state] in
            state.withLock { state in
                if let token {
                    state.snapshots[key]?.shared[ObjectIdentifier(token)] = nil
                } else {
                    state.snapshots[key]?.exclusive = nil
                }
                if state.snapshots[key]?.isFree == true { state.snapshots[key] = nil }
            }
        }
    }

    /// Waits up to five seconds.
    func lockManifest(of snapshot: SnapshotName, in namespace: Namespace) throws -> StoreLock {
        let key = SnapshotKey(namespace: namespace, snapshot: snapshot)
        let isTaken = state.wait(seconds: Self.manifestPatienceSeconds) {
            $0.manifests.insert(key).inserted ? true : nil
        }
        guard isTaken == true else {
            throw BackupFailure(
                .conflict, "The manifest of \(text(snapshot, in: namespace)) is being changed by somebody else")
        }
        return StoreLock { [state] in _ = state.withLock(wake: true) { $0.manifests.remove(key) } }
    }

    /// Keeps sessions and locks out of a namespace and what is below, while it is removed.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while a session writes there, or something there is in use.
    func reserveRemoval(of namespace: Namespace) throws -> StoreLock {
        try state.withLock { state throws(BackupFailure) in
            try Self.refuseVanishing(namespace, state)
            if let running = state.running.values.first(where: { namespace.contains($0.namespace) }) {
                throw BackupFailure.beingWritten(running)
            }
            if let (key, holder) = state.groups.first(where: { namespace.contains($0.key.namespace) }) {
                throw Self.inUse("Group \(text(key.group, in: key.namespace))", holder)
            }
            if let (key, holders) = state.snapshots.first(where: { namespace.contains($0.key.namespace) }) {
                throw Self.inUse("Snapshot \(text(key.snapshot, in: key.namespace))", holders.words)
            }
            state.vanishing.append(namespace)
        }
        return StoreLock { [state] in
            state.withLock { state in
                if let index = state.vanishing.firstIndex(of: namespace) { state.vanishing.remove(at: index) }
            }
        }
    }

    /// Refuses to make a namespace below one that is being removed.
    func requireStable(_ namespace: Namespace) throws {
        try state.withLock { state throws(BackupFailure) in try Self.refuseVanishing(namespace, state) }
    }

    private static func refuseVanishing(_ namespace: Namespace, _ state: State) throws(BackupFailure) {
        if let vanishing = state.vanishing.first(where: { $0.contains(namespace) }) {
            throw BackupFailure(.conflict, "Namespace '\(vanishing)' is being removed")
        }
    }

    private static func inUse(_ object: String, _ holder: String) -> BackupFailure {
        BackupFailure(.conflict, "\(object) is in use by \(holder)")
    }

    private final class Token: Sendable {}
}
