import BackupFormats
import Datastore
package import Platform
package import Tasks

/// Verifies new snapshots of datastores whose setting `verify-new` asks for it. (Spec: protocol A.8; decision 1.9.)
package struct NewSnapshotVerification: Sendable {
    private let stores: DatastoreRegistry
    private let tasks: TaskRegistry
    private let workers: WorkerPool

    package init(stores: DatastoreRegistry, tasks: TaskRegistry, workers: WorkerPool) {
        self.stores = stores
        self.tasks = tasks
        self.workers = workers
    }

    /// Takes a snapshot with its lock: starts a task that verifies it, or lets it go. Does not wait.
    package func take(_ published: PublishedSnapshot) {
        let (reader, snapshot) = (published.reader, published.snapshot)
        guard let record = try? stores.record(published.datastore.name), record.verifiesNew else {
            return reader.close()
        }
        let workers = workers
        let place = published.namespace.isRoot ? "" : "\(published.namespace):"
        tasks.run("verify", id: "\(published.datastore.name):\(place)\(snapshot)", owner: published.owner) { task in
            defer { reader.close() }
            task.log("verify the new snapshot \(snapshot)")
            let verifier = SnapshotVerifier(
                published.datastore, task: "\(task.upid)", effort: try record.verifyEffort(),
                isCancelled: { task.isAborted }, log: { task.log($0) })
            let outcome = try await workers.run { try verifier.verify(reader) }
            guard outcome.isGood else {
                throw BackupFailure(
                    .corruptData, "verification failed - please check the log for details (\(snapshot) is damaged)")
            }
        }
    }
}
