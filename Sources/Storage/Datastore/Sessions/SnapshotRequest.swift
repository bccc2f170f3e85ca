package import BackupFormats

/// What a session wants to write.
package struct SnapshotRequest: Hashable, Sendable {
    package var namespace: Namespace
    package var snapshot: SnapshotName
    /// Who writes: the owner of the group where the session makes it.
    package var owner: AuthID
    /// The UPID of the session's task.
    package var task: String
    /// Whether nothing is to be kept. Only the group `host/benchmark` takes such sessions, and no others.
    package var isBenchmark: Bool

    package init(
        namespace: Namespace = .root, snapshot: SnapshotName, owner: AuthID, task: String, isBenchmark: Bool = false
    ) {
        self.namespace = namespace
        self.snapshot = snapshot
        self.owner = owner
        self.task = task
        self.isBenchmark = isBenchmark
    }
}
