import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import Platform
import StateDatabase

/// A datastore of this server. All data goes through sessions of the backup protocol, in process; acts as `root@pam`.
struct LocalChunkStore: ChunkStoreConnection {
    /// Digests that ``storedBytes(of:)`` counts at most: 4 TiB of different chunks.
    private static let countedChunks = 1 << 20

    let address: ChunkStoreAddress
    private let use: DatastoreUse
    private let sessions: SessionOpener
    private let access: AccessControl
    private let workers: WorkerPool

    let takesAnyBase = true

    private var store: Datastore { use.store }
    private var namespace: Namespace { address.namespace }

    /// Blocks.
    ///
    /// - Throws: ``BackupFailure``: what the registry throws, with the names that there are; `notFound` where the
    ///   namespace does not exist.
    init(
        _ address: ChunkStoreAddress, stores: DatastoreRegistry, sessions: SessionOpener, access: AccessControl,
        workers: WorkerPool
    ) throws {
        self.address = address
        self.sessions = sessions
        self.access = access
        self.workers = workers
        do {
            use = try stores.use(address.datastore, for: .write, by: "Xen Orchestra")
        } catch let failure as BackupFailure where failure.kind == .noSuchObject {
            let names = stores.records.map { "'\($0.name)'" }
            throw BackupFailure(
                .noSuchObject,
                "there is no datastore '\(address.datastore)' here; "
                    + (names.isEmpty ? "there are none at all" : "there are: \(names.joined(separator: ", "))"),
                hints: ["Make one with 'cairn datastore create', or change the address of the remote."])
        }
        do {
            guard try use.store.namespaceExists(address.namespace) else {
                let names = try use.store.namespaces().filter { !$0.isRoot }.map { "'\($0)'" }
                throw BackupFailure(
                    .notFound,
                    "datastore '\(address.datastore)' has no namespace '\(address.namespace)'; "
                        + (names.isEmpty ? "it has none" : "it has: \(names.joined(separator: ", "))"),
                    hints: ["Make it with 'cairn namespace create', or change the address of the remote."])
            }
        } catch {
            use.end()
            throw error
        }
    }

    // MARK: Listing

    func snapshots(_ type: BackupType) async throws -> [StoredSnapshot] {
        try await workers.run { [store, namespace] in
            try store.groupNames(in: namespace).filter { $0.type == type }.flatMap { group in
                try Self.snapshots(of: group, store, namespace)
            }
        }
    }

    func snapshots(of group: BackupGroup) async throws -> [StoredSnapshot] {
        try await workers.run { [store, namespace] in try Self.snapshots(of: group, store, namespace) }
    }

    private static func snapshots(
        of group: BackupGroup, _ store: Datastore, _ namespace: Namespace
    ) throws -> [StoredSnapshot] {
        try store.snapshots(in: namespace, group: group).filter { $0.isFinished && $0.runningTask == nil }.map {
            entry in
            StoredSnapshot(
                name: entry.name,
                files: Dictionary(entry.files.map { ($0.name, $0.byteCount) }, uniquingKeysWith: { first, _ in first }),
                isProtected: entry.isProtected)
        }
    }

    func blobs(_ wanted: [(snapshot: SnapshotName, archive: ArchiveName)]) async throws -> [[UInt8]?] {
        try await workers.run { [store, namespace] in
            wanted.map { try? store.blob($0.archive, of: $0.snapshot, in: namespace) }
        }
    }

    func isSound(_ archive: ArchiveName, of snapshot: SnapshotName) async throws -> Bool {
        try await workers.run { [store, namespace] in
            do {
                let reader = try store.openReader(snapshot, in: namespace, purpose: "the choice of a base")
                defer { reader.close() }
                let manifest = try reader.manifest()
                guard manifest.verifyState?.outcome != .failed, let file = manifest.file(archive) else { return false }
                let index = try reader.openIndex(archive)
                return try index.logicalSize == file.size && index.computeChecksum() == file.checksum
            } catch is BackupFailure {
                return false
            }
        }
    }

    // MARK: Sessions

    private func request(_ snapshot: SnapshotName) -> OpenRequest {
        OpenRequest(datastore: address.datastore, namespace: namespace, snapshot: snapshot)
    }

    func openBackup(_ snapshot: SnapshotName, base: SnapshotName?) async throws -> any BackupTransport {
        let grant = try access.grant(
            .datastoreBackup, on: .datastore(address.datastore, namespace), to: access.inProcessRoot())
        return InProcessTransport(
            try await sessions.openBackup(
                request(snapshot), in: store, grant: grant, revealsDuplicates: true, base: base))
    }

    func openReader(_ snapshot: SnapshotName) async throws -> any BackupTransport {
        let grant = try access.contentGrant(
            full: .datastoreRead, partial: .datastoreBackup, store: address.datastore, namespace: namespace,
            to: access.inProcessRoot())
        return InProcessTransport(try await sessions.openReader(request(snapshot), in: store, grant: grant))
    }

    func remove(_ snapshot: SnapshotName) async throws {
        try await workers.run { [store, namespace] in
            do {
                try store.removeSnapshot(snapshot, in: namespace)
            } catch let failure as BackupFailure where failure.kind == .noSuchObject {}
        }
    }

    // MARK: Space

    func space() async throws -> JSONObject {
        try await workers.run { [store] in
            let space = try store.usage()
            return [
                "size": .integer(space.total), "used": .integer(space.used), "available": .integer(space.available),
            ]
        }
    }

    func storedBytes(of snapshots: [StoredSnapshot]) async throws -> UInt64? {
        try await workers.run { [store, namespace] in
            // Eight bytes of a digest tell a million of them apart.
            var seen: Set<UInt64> = []
            var sum: UInt64 = 0
            for snapshot in snapshots {
                guard let reader = try? store.openReader(snapshot.name, in: namespace, purpose: "counting its chunks")
                else { continue }
                defer { reader.close() }
                for (archive, byteCount) in snapshot.files {
                    guard archive.kind != .blob else {
                        sum += UInt64(byteCount)
                        continue
                    }
                    guard let index = try? reader.openIndex(archive) else { continue }
                    try index.forEach { entry in
                        let bytes = entry.digest.bytes
                        let short = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                        if seen.count < Self.countedChunks, seen.insert(short).inserted {
                            sum += UInt64(try store.chunks.byteCount(of: entry.digest) ?? 0)
                        }
                    }
                }
            }
            return seen.count < Self.countedChunks ? sum : nil
        }
    }

    func close() async { use.end() }
}
