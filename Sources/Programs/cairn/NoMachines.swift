import BackupFormats
import Tasks
import XenBackup

/// Stands where the service for machines will be.
struct NoMachines: XenService {
    private var missing: BackupFailure { BackupFailure(.unsupported, "Backups of machines are not supported yet") }

    func run(_ parameters: JSONObject, root: TaskNode) async throws { throw missing }
    func admit(_ parameters: JSONObject) throws { throw missing }
    func runningJobs() -> [String] { [] }
    func importVMBackup(_ parameters: JSONObject, root: TaskNode) async throws -> JSONObject { throw missing }
    func admitImport(_ parameters: JSONObject) async throws -> JSONObject { throw missing }
    func restoreMetadata(_ parameters: JSONObject, root: TaskNode) async throws -> JSONValue { throw missing }
    func admitMetadataRestore(_ parameters: JSONObject) async throws -> JSONObject { throw missing }
    func listVMBackups(remotes: JSONObject, vm: String?) async throws -> JSONObject { throw missing }
    func listMetadataBackups(_ kind: String, remotes: JSONObject) async throws -> JSONObject { throw missing }
    func deleteVMBackups(_ ids: [String], remote: JSONObject, root: TaskNode) async throws { throw missing }
    func deleteMetadataBackup(_ id: String, remote: JSONObject) async throws { throw missing }
    func testRemote(_ remote: JSONObject) async -> JSONObject { ["success": false, "error": .string(missing.summary)] }
    func pingRemote(_ remote: JSONObject) async throws { throw missing }
    func remoteInfo(_ remote: JSONObject) async throws -> JSONObject { throw missing }
    func totalBackupSize(_ remote: JSONObject) async throws -> JSONObject { throw missing }
}
