package import AccessControl
package import BackupFormats
package import Datastore
package import Tasks
import Platform
import StateDatabase

/// What is known of a datastore's garbage collection. (Spec: rest E.4.)
package struct CollectionReport: Sendable {
    /// The name of the datastore.
    package let store: String
    /// The figures of the last run that came to its end; zeros where there was none.
    package let status: CollectionStatus
    /// When it is to run, as configured.
    package let schedule: String?
    /// The last run that has ended, as far as tasks are remembered.
    package let lastRun: TaskInfo?
}

extension MaintenanceService {
    /// The worker type of the tasks.
    package static let collectionWorker = "garbage_collection"

    /// Starts a garbage collection in the background.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while one runs, or where the datastore cannot be written.
    package func startCollection(of store: String, by grant: Grant) async throws -> UPID {
        let lease = try await workers.run { try reserveCollection(of: store) }
        return tasks.run(Self.collectionWorker, id: store, owner: grant.authID) { task in
            try await collect(lease, of: store, in: task)
        }
    }

    /// Collects the garbage of a datastore, inside a task that somebody else opened. The caller has checked the rights.
    ///
    /// - Throws: ``BackupFailure``: `conflict` while another one runs, or where the datastore cannot be written; what
    ///   ``CollectionLease/collect(task:width:observer:)`` throws.
    package func collect(_ store: String, in task: RunningTask) async throws {
        let lease = try await workers.run { try reserveCollection(of: store) }
        try await collect(lease, of: store, in: task)
    }

    private func reserveCollection(of name: String) throws -> CollectionLease {
        let store = try stores.datastore(name, for: .write)
        let path = "\(try stores.record(name).path)/"
        for other in stores.records where other.name != name {
            let otherPath = "\(other.path)/"
            guard path.hasPrefix(otherPath) || otherPath.hasPrefix(path) else { continue }
            throw BackupFailure(
                .conflict,
                "garbage of datastore '\(name)' cannot be collected: it and datastore '\(other.name)' lie inside each other"
            )
        }
        return try store.reserveCollection()
    }

    private func collect(_ lease: CollectionLease, of store: String, in task: RunningTask) async throws {
        let use = try await workers.run {
            try stores.use(store, for: .write, by: "garbage collection task \(task.upid)")
        }
        defer { use.end() }
        task.log("starting garbage collection on store \(store)")
        let observer = CollectionObserver(
            isCancelled: { task.isAborted }, log: { task.log($0) }, warn: { task.warn($0) },
            progress: { task.setProgress($0) })
        // A thread of its own: it may take hours, and the workers are for what somebody waits for.
        let thread = WorkerPool(name: "garbage collection", width: 1)
        _ = try await thread.run { try lease.collect(task: "\(task.upid)", observer: observer) }
    }

    /// What is known of the garbage collection of a datastore. Blocks.
    ///
    /// - Throws: ``BackupFailure`` where the datastore cannot be read.
    package func collectionReport(of name: String) throws -> CollectionReport {
        let status = try stores.datastore(name, for: .read).lastCollection()
        let filter = TaskFilter(
            start: 0, limit: 1, store: name, typePart: Self.collectionWorker, statuses: Set(TaskStatusClass.allCases))
        let ended = try tasks.list(filter) { $0.upid.workerID == name && !$0.isRunning }
        return CollectionReport(
            store: name, status: status ?? CollectionStatus(),
            schedule: try stores.record(name).properties["gc-schedule"]?.stringValue, lastRun: ended.tasks.first)
    }
}
