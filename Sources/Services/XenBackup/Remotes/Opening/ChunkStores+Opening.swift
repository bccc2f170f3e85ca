import BackupFormats
import Platform

extension ChunkStores: ChunkStoreOpening {
    package func open(mappedPath path: String, remoteID: String, name: String) async throws -> (any XenRepository)? {
        guard let address = try ChunkStoreAddress(path: path) else { return nil }
        return try await open(address, remoteID: remoteID, name: name)
    }

    package func open(folder: String, remoteID: String, name: String) async throws -> (any XenRepository)? {
        guard let address = try await workers.run({ [self] in try address(ofFolder: folder) }) else { return nil }
        return try await open(address, remoteID: remoteID, name: name)
    }
}
