package import AccessControl
package import BackupFormats
package import BackupProtocol
import BlobCoding
package import Datastore
package import Platform
package import Tasks

/// A snapshot that a session has just published. Whoever takes it, verification of new snapshots, closes the reader,
/// which holds the snapshot's shared lock.
package struct PublishedSnapshot: Sendable {
    package let datastore: Datastore
    package let namespace: Namespace
    package let snapshot: SnapshotName
    package let owner: AuthID
    package let reader: SnapshotReader
}

/// Opens backup and reader sessions. (Spec: protocol A.5, from the namespace on; what stands before is the caller's.)
package final class SessionOpener: Sendable {
    private let tasks: TaskRegistry
    private let workers: WorkerPool
    private let settings: SessionSettings
    private let coders = BlobCoders()
    private let answers = AnswerBudget()
    private let table: SessionTable
    private let published: (@Sendable (PublishedSnapshot) -> Void)?

    /// - Parameters:
    ///   - workers: For all file work of sessions.
    ///   - published: Called after each backup, before its answer; must not block. It owns the reader.
    package init(
        tasks: TaskRegistry, workers: WorkerPool, settings: SessionSettings = SessionSettings(),
        published: (@Sendable (PublishedSnapshot) -> Void)? = nil
    ) {
        self.tasks = tasks
        self.workers = workers
        self.settings = settings
        self.published = published
        table = SessionTable(limit: settings.maxSessions)
    }

    /// Sessions of both kinds that are open.
    package var sessionCount: Int { table.count }
    /// What sessions have moved, and what the server has answered.
    package var traffic: TrafficCounters { table.traffic }

    /// Opens a backup session. It ends with its connection: whoever gets the handler attaches it to one, or calls
    /// `connectionEnded`.
    ///
    /// - Parameters:
    ///   - grant: Datastore.Backup on the namespace.
    ///   - revealsDuplicates: Whether answers to chunk uploads say that the store had the chunk; only for callers that
    ///     may read the whole datastore.
    ///   - base: For sessions within this process: the finished snapshot of the group to build on.
    /// - Throws: ``BackupFailure``: `notFound` where the namespace is missing; others are answered with 400.
    package func openBackup(
        _ request: OpenRequest, in datastore: Datastore, grant: Grant, revealsDuplicates: Bool = false,
        base: SnapshotName? = nil
    ) async throws -> any SessionHandler {
        try table.reserve()
        let group = request.snapshot.group
        let task = tasks.start(
            request.isBenchmark ? "benchmark" : "backup", id: "\(request.datastore):\(group)", owner: grant.authID)
        do {
            let stage = try await workers.run {
                try datastore.beginSnapshot(
                    SnapshotRequest(
                        namespace: request.namespace, snapshot: request.snapshot, owner: grant.authID,
                        task: "\(task.upid)", isBenchmark: request.isBenchmark),
                    requestedBase: base)
            }
            let session = BackupSession(
                request, in: datastore, stage: stage, task: task, workers: workers, coders: coders, settings: settings,
                table: table, revealsDuplicates: revealsDuplicates, published: published)
            table.add(session)
            return session
        } catch {
            task.withdraw()
            table.giveUp()
            throw error
        }
    }

    /// Opens a reader session. It ends with its connection, as a backup session does.
    ///
    /// - Parameter grant: Datastore.Read, or Datastore.Backup for own groups only, on the namespace.
    /// - Throws: ``BackupFailure``; all are answered with 400.
    package func openReader(
        _ request: OpenRequest, in datastore: Datastore, grant: ContentGrant
    ) async throws -> any SessionHandler {
        try table.reserve()
        let snapshot = request.snapshot
        let time = String(snapshot.time, radix: 16, uppercase: true)
        let padded = String(repeating: "0", count: max(0, 8 - time.count)) + time
        let task = tasks.start(
            "reader", id: "\(request.datastore):\(snapshot.group)/\(padded)", owner: grant.authID)
        do {
            let reader = try await workers.run {
                if grant.requiresOwner {
                    try grant.checkOwner(
                        try datastore.owner(of: snapshot.group, in: request.namespace), of: "group \(snapshot.group)")
                }
                return try datastore.openReader(
                    snapshot, in: request.namespace, purpose: "the reader session of task \(task.upid)")
            }
            let session = ReaderSession(
                request, in: datastore, reader: reader, task: task, workers: workers, settings: settings, table: table,
                answers: answers)
            table.add(session)
            return session
        } catch {
            task.withdraw()
            table.giveUp()
            throw error
        }
    }

    /// Opens no more sessions, ends those that are open and waits until they have cleaned up. Connections must still
    /// be served meanwhile.
    package func shutDown(reason: String = "the server is being stopped") async {
        await table.shutDown(reason: reason)
    }
}
