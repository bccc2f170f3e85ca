import BackupClient
import BackupFormats
import BackupProtocol
import BlobCoding
import Logging
import Tasks

/// A datastore as a remote of Xen Orchestra: each backup is a snapshot, whole and independent of all others. (Spec:
/// xo-proxy §10.)
final class ChunkStoreRepository: XenRepository {
    /// Descriptions that are read at once.
    private static let batchCount = 64

    let remoteID: String
    let name: String
    let connection: any ChunkStoreConnection
    let stores: ChunkStores
    private let cache: BlobCache

    /// Compressed exports would hide what is equal.
    let prefersUncompressedExports = true

    init(
        _ connection: any ChunkStoreConnection, remoteID: String, name: String, cache: BlobCache, stores: ChunkStores
    ) {
        self.connection = connection
        self.remoteID = remoteID
        self.name = name.isEmpty ? (remoteID.isEmpty ? connection.address.description : remoteID) : name
        self.cache = cache
        self.stores = stores
    }

    func close() async { await connection.close() }

    // MARK: The remote itself

    func info() async throws -> JSONObject { try await connection.space() }

    func totalBackupSize() async throws -> JSONObject {
        let snapshots = try await connection.snapshots(.vm).filter { $0.has(XenArchive.metadata) }
        let sizes = try await metadata(of: snapshots).map { $0?.size ?? 0 }
        var result: JSONObject = ["onDisk": .integer(sizes.reduce(0) { $0 + max(0, $1) })]
        if let stored = try await connection.storedBytes(of: snapshots) { result["deduplicated"] = .integer(stored) }
        return result
    }

    // MARK: Blobs

    /// The content of a blob of each snapshot, from memory where it was read before; nil where it cannot be read.
    func contents(_ archive: ArchiveName, of snapshots: [StoredSnapshot]) async throws -> [[UInt8]?] {
        var blobs = snapshots.map { cache.find(archive, of: $0) }
        let missing = snapshots.indices.filter { blobs[$0] == nil }
        for start in stride(from: 0, to: missing.count, by: Self.batchCount) {
            let places = missing[start..<min(start + Self.batchCount, missing.count)]
            let found = try await connection.blobs(places.map { (snapshots[$0].name, archive) })
            for (place, blob) in zip(places, found) {
                blobs[place] = blob
                if let blob { cache.add(archive, of: snapshots[place], blob) }
            }
        }
        return blobs.map { blob in blob.flatMap { try? BlobDecoder().decode($0, limit: BlobLimits.maxChunkContent) } }
    }

    func object(_ archive: ArchiveName, of snapshots: [StoredSnapshot]) async throws -> [JSONObject?] {
        try await contents(archive, of: snapshots).map { $0.flatMap { try? JSONValue(parsing: $0) }?.objectValue }
    }

    private func metadata(of snapshots: [StoredSnapshot]) async throws -> [VMBackupMetadata?] {
        try await object(XenArchive.metadata, of: snapshots).map { $0.map { VMBackupMetadata($0) } }
    }

    func remove(_ snapshot: SnapshotName) async throws {
        cache.forget(snapshot)
        try await connection.remove(snapshot)
    }

    // MARK: Machines

    /// The backups in these snapshots, oldest first; others, and what cannot be read, are left out.
    func backups(in snapshots: [StoredSnapshot]) async throws -> [(snapshot: StoredSnapshot, backup: VMBackup)] {
        let ours = snapshots.filter { $0.has(XenArchive.metadata) }
        return zip(ours, try await metadata(of: ours)).compactMap { snapshot, metadata in
            guard let metadata else {
                stores.logger.warning(
                    "a backup is not listed, its description cannot be read",
                    metadata: ["store": "\(connection.address.label)", "snapshot": "\(snapshot.name)"])
                return nil
            }
            let id = VirtualNames.backupID(snapshot.name)
            return (snapshot, VMBackup(id: id, metadata: metadata, isImmutable: snapshot.isProtected))
        }
    }

    func vmBackups(of vm: String?) async throws -> [String: [VMBackup]] {
        let snapshots =
            if let vm {
                try await connection.snapshots(of: VirtualNames.group(ofMachine: vm))
            } else {
                try await connection.snapshots(.vm)
            }
        let found = try await backups(in: snapshots)
        return Dictionary(grouping: found, by: \.snapshot.name.group.id).mapValues { backups in
            backups.map(\.backup).sorted { $0.metadata.timestamp < $1.metadata.timestamp }
        }
    }

    func target(for vm: String) async throws -> any VMBackupTarget {
        let group = try VirtualNames.group(ofMachine: vm)
        let lock = try await stores.locks.take("\(connection.address) \(group)", patience: stores.lockPatience)
        return ChunkStoreTarget(group, in: self, lock: lock)
    }

    func openBackup(_ id: String) async throws -> any VMBackupReader {
        let missing = BackupFailure(.notFound, "There is no backup \(id) in \(connection.address.label)")
        guard let name = VirtualNames.snapshot(ofBackup: id) else { throw missing }
        let snapshots = try await connection.snapshots(of: name.group).filter { $0.name == name }
        guard let backup = try await backups(in: snapshots).first?.backup else { throw missing }
        let transport = try await connection.openReader(name)
        do {
            let download = try await SnapshotDownload.open(name, transport: transport, key: nil)
            return ChunkStoreReader(backup.metadata, download, transport)
        } catch {
            await transport.close()
            throw error
        }
    }

    func deleteVMBackups(_ ids: [String], task: TaskNode) async throws {
        let names = try ids.map { id in
            guard let name = VirtualNames.snapshot(ofBackup: id) else {
                throw BackupFailure(.invalidInput, "'\(id)' is no id of a backup")
            }
            return name
        }
        for (group, wanted) in Dictionary(grouping: names, by: \.group) {
            let snapshots = try await connection.snapshots(of: group).filter { wanted.contains($0.name) }
            let found = try await backups(in: snapshots)
            let modes = Set(found.map(\.backup.metadata.mode)).filter { VMBackupMode(rawValue: $0) == nil }
            guard modes.isEmpty else {
                throw BackupFailure(
                    .unsupported, "no deleter for backup modes: \(modes.sorted().joined(separator: ", "))")
            }
            // Other snapshots of the group are not Xen Orchestra's.
            for item in found { try await remove(item.snapshot.name) }
            try await task.run("clean-vm") { _ in }
        }
    }
}
