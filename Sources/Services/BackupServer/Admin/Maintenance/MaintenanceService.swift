package import AccessControl
package import BackupFormats
import Datastore
package import Platform
package import Tasks

/// Long work on datastores: each run is a task. (Spec: rest E.4; formats §9.10, §9.11.)
package struct MaintenanceService: Sendable {
    let stores: DatastoreRegistry
    let access: AccessControl
    let tasks: TaskRegistry
    let workers: WorkerPool
    let time: TimeSource
    let localOffset: @Sendable (Int64) -> Int

    /// - Parameter localOffset: Seconds that the server's local time is ahead of UTC at a time.
    package init(
        stores: DatastoreRegistry, access: AccessControl, tasks: TaskRegistry, workers: WorkerPool, time: TimeSource,
        localOffset: @escaping @Sendable (Int64) -> Int
    ) {
        self.stores = stores
        self.access = access
        self.tasks = tasks
        self.workers = workers
        self.time = time
        self.localOffset = localOffset
    }
}
