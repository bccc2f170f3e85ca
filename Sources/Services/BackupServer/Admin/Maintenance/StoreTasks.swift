package import AccessControl
package import BackupFormats
package import StateDatabase
import Platform
import Tasks

extension MaintenanceService {
    /// Makes a datastore in the background.
    ///
    /// - Throws: What ``DatastoreRegistry/reserve(_:by:)`` throws.
    package func startCreation(_ record: DatastoreRecord, reusing: Bool, by grant: Grant) async throws -> UPID {
        try await workers.run { try stores.reserve(record, by: grant) }
        return tasks.run("create-datastore", id: record.name, owner: grant.authID) { task in
            task.log("\(reusing ? "take over" : "make") datastore \(record.name) in \(record.path)")
            do {
                try await workers.run { try stores.create(record, reusing: reusing, by: grant) }
            } catch {
                stores.release(record.name)
                throw error
            }
        }
    }

    /// Forgets a datastore in the background, with its content if so wished.
    package func startRemoval(
        _ name: String, destroyingData: Bool, keepingJobs: Bool = false, digest: String?, by grant: Grant
    ) async throws -> UPID {
        _ = try stores.record(name)
        return tasks.run("delete-datastore", id: name, owner: grant.authID) { task in
            task.log(
                destroyingData
                    ? "remove datastore \(name) with its content" : "forget datastore \(name); its folder stays")
            try await workers.run {
                try stores.remove(
                    name, destroyingData: destroyingData, keepingJobs: keepingJobs, digest: digest, by: grant)
            }
        }
    }
}
