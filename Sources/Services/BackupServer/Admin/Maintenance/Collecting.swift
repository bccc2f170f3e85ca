package import Tasks
import BackupFormats

extension MaintenanceService {
    /// Collects the garbage of a datastore, inside a task that somebody else opened. The caller has checked the rights.
    ///
    /// - Throws: ``BackupFailure``: `unsupported`, as it is not built.
    package func collect(_ store: String, in task: RunningTask) async throws {
        throw BackupFailure(.unsupported, "Garbage of datastore '\(store)' cannot be collected yet")
    }
}
