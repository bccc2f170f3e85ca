import BackupFormats
import Logging
import XenBackup

/// Opens the remotes of Xen Orchestra: datastores by their mapped paths, and folders of this machine.
struct XenRemotes: RepositoryOpening {
    let datastores: ChunkStores
    let allowsFolders: Bool
    let time: TimeSource
    let logger: Logger

    func open(_ remote: JSONObject) async throws -> any XenRepository {
        let id = remote["id"]?.stringValue ?? ""
        let name = remote["name"]?.stringValue ?? id
        guard case .file(let path) = try RemoteURL(parsing: remote["url"]?.stringValue ?? "").place else {
            throw BackupFailure(.unsupported, "Only remotes in folders are supported yet")
        }
        if let address = try ChunkStoreAddress(path: path) {
            return try await datastores.open(address, remoteID: id, name: name)
        }
        guard allowsFolders else {
            throw BackupFailure(.notAuthorized, "Local remotes (file://) are not allowed on this server")
        }
        let files = try await FileRemote.open(path, name: name, time: time)
        return ClassicRepository(files: files, remoteID: id, name: name, time: time, logger: logger) { _ in
            ["success": false, "error": "Remotes cannot be tested yet"]
        }
    }
}
