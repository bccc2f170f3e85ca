package import BackupFormats
package import Platform
package import StateDatabase
package import Tasks

/// Copies snapshots between datastores: from a remote, to a remote, or within this server. (Spec: formats §9.13,
/// protocol C.4 and C.5.)
package struct SyncService: Sendable {
    package let remotes: RemoteRegistry
    let stores: DatastoreRegistry
    let connector: any RemoteConnector
    let workers: WorkerPool
    let time: TimeSource

    package init(
        stores: DatastoreRegistry, database: StateDatabase, connector: any RemoteConnector, workers: WorkerPool,
        time: TimeSource
    ) {
        self.stores = stores
        self.connector = connector
        self.workers = workers
        self.time = time
        remotes = RemoteRegistry(database: database)
    }

    /// Does one synchronisation inside a task that the caller has opened, for somebody whose rights the caller has
    /// checked. What fails in one group does not stop the others; the task then ends with that error.
    ///
    /// - Throws: ``BackupFailure``, also where single groups failed.
    package func run(_ request: SyncRequest, in task: RunningTask) async throws {
        throw BackupFailure(.unsupported, "Synchronisation is not built yet")
    }
}
