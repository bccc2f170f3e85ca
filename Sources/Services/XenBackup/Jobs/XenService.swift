package import BackupFormats
package import Tasks

/// What the proxy's methods do, behind their parameters. The surface checks parameters, opens root tasks, and calls this.
package protocol XenService: Sendable {
    /// Runs a job to its end below `root` (whose start event is out). `parameters`: those of `backup.run`, checked by
    /// schema. Called after ``admit(_:)``. (Spec: xo-proxy §2.5, §5.)
    func run(_ parameters: JSONObject, root: TaskNode) async throws
    /// Refuses what can be refused at once: another type of job, the same job running. The job counts as running from
    /// here until `run` has returned.
    func admit(_ parameters: JSONObject) throws
    /// Takes an admission back, where `run` will not be called after all.
    func withdraw(_ parameters: JSONObject)
    func runningJobs() -> [String]
    /// Restores a machine; the result is `{ id, size }`. Called after ``admitImport(_:)``.
    func importVMBackup(_ parameters: JSONObject, root: TaskNode) async throws -> JSONObject
    /// Properties of the root task of a restore; fails where the backup does not exist.
    func admitImport(_ parameters: JSONObject) async throws -> JSONObject
    /// Restores metadata; the result is that of the root task.
    func restoreMetadata(_ parameters: JSONObject, root: TaskNode) async throws -> JSONValue
    func admitMetadataRestore(_ parameters: JSONObject) async throws -> JSONObject

    func listVMBackups(remotes: JSONObject, vm: String?) async throws -> JSONObject
    func listMetadataBackups(_ kind: String, remotes: JSONObject) async throws -> JSONObject
    func deleteVMBackups(_ ids: [String], remote: JSONObject, root: TaskNode) async throws
    func deleteMetadataBackup(_ id: String, remote: JSONObject) async throws

    func testRemote(_ remote: JSONObject) async -> JSONObject
    func pingRemote(_ remote: JSONObject) async throws
    func remoteInfo(_ remote: JSONObject) async throws -> JSONObject
    func totalBackupSize(_ remote: JSONObject) async throws -> JSONObject
}
