package import BackupFormats
package import Tasks
import XenAPI

/// Restores. (Spec: xo-proxy §2.5, §6.7, §6.9.)
extension XenBackups {
    /// Longer metadata (a configuration, the database of a pool) is not restored.
    static var metadataLimit: Int { 256 << 20 }

    package func admitImport(_ parameters: JSONObject) async throws -> JSONObject {
        let id = parameters["backupId"]?.stringValue ?? ""
        return try await withRepository(parameters["remote"]?.objectValue ?? [:]) { repository in
            let backup = try await repository.openBackup(id)
            let metadata = backup.metadata
            await backup.close()
            guard VMBackupMode(rawValue: metadata.mode) != nil else {
                throw BackupFailure(.unsupported, "backups of mode \(metadata.mode) cannot be restored")
            }
            return [
                "backupId": .string(id), "jobId": .string(metadata.jobID),
                "srId": parameters["srUuid"] ?? "", "time": .integer(metadata.timestamp),
            ]
        }
    }

    package func importVMBackup(_ parameters: JSONObject, root: TaskNode) async throws -> JSONObject {
        let settings = try RestoreSettings(parameters)
        let id = parameters["backupId"]?.stringValue ?? ""
        return try await withRepository(parameters["remote"]?.objectValue ?? [:]) { repository in
            let restore = MachineRestore(
                settings: settings, remoteName: repository.name, clock: clock, logger: logger)
            let backup = try await repository.openBackup(id)
            return try await ensuring({ await backup.close() }) {
                try await withHost(parameters["xapi"]?.objectValue ?? [:]) { host in
                    let (id, size) = try await restore.restore(backup, host: host, task: root)
                    return ["id": .string(id), "size": .integer(size)]
                }
            }
        }
    }

    package func admitMetadataRestore(_ parameters: JSONObject) async throws -> JSONObject {
        let id = parameters["backupId"]?.stringValue ?? ""
        if Self.isPoolBackup(id), parameters["xapi"]?.objectValue == nil {
            throw BackupFailure(.invalidInput, "the restore of a pool's metadata needs xapi")
        }
        return try await withRepository(parameters["remote"]?.objectValue ?? [:]) { repository in
            ["metadata": .object(try await repository.readMetadataBackup(id).metadata)]
        }
    }

    package func restoreMetadata(_ parameters: JSONObject, root: TaskNode) async throws -> JSONValue {
        let id = parameters["backupId"]?.stringValue ?? ""
        return try await withRepository(parameters["remote"]?.objectValue ?? [:]) { repository in
            let backup = try await repository.readMetadataBackup(id)
            let bytes = try await backup.data.readAll(limit: Self.metadataLimit)
            guard Self.isPoolBackup(id) else {
                guard backup.dataName.hasSuffix(".json") else {
                    return ["encoding": "base64", "data": .string(Base64.encode(bytes))]
                }
                return .string(String(decoding: bytes, as: UTF8.self))
            }
            try await withHost(parameters["xapi"]?.objectValue ?? [:]) { host in
                try await host.importPoolDatabase(from: BytesSource(bytes), byteCount: UInt64(bytes.count))
            }
            return true
        }
    }

    /// Connects to a pool for the time of `body`.
    func withHost<Value: Sendable>(
        _ xapi: JSONObject, _ body: (any XenHost) async throws -> Value
    ) async throws -> Value {
        let host = try await hosts.connect(xapi)
        do {
            let value = try await body(host)
            await inAnyCase { await host.close() }
            return value
        } catch {
            await inAnyCase { await host.close() }
            throw error
        }
    }

    private static func isPoolBackup(_ id: String) -> Bool {
        id.split(separator: "/").first.map(String.init) == MetadataKind.pool.rawValue
    }
}
