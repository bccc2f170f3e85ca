import AccessControl
import BackupFormats
import BackupProtocol
import Datastore
import Platform

/// A datastore of this server as a source: what its reader may see there. With Datastore.Read on a namespace that is
/// every group, with Datastore.Backup the own ones. (Spec: rest D.11, E.5.)
struct LocalSource: SyncSource {
    let store: Datastore
    let reader: AuthID
    let access: AccessControl
    let workers: WorkerPool
    /// Who reads, for the failures of others.
    let purpose: String

    var label: String { "datastore '\(store.name)'" }

    func namespaces(below start: Namespace, maxDepth: Int) async throws -> [Namespace] {
        try await workers.run { [self] in
            try store.namespaces(below: start, maxDepth: maxDepth).filter {
                access.hasAny(
                    [.datastoreRead, .datastoreBackup], onOrBelow: .datastore(store.name, $0), of: reader)
            }
        }
    }

    func groups(in namespace: Namespace) async throws -> [BackupGroup] {
        try await workers.run { [self] in
            let held = access.privileges(of: reader, on: .datastore(store.name, namespace))
            guard !held.isDisjoint(with: [.datastoreRead, .datastoreBackup]) else { return [] }
            return try store.groups(in: namespace).filter { entry in
                held.contains(.datastoreRead)
                    || entry.owner.map { Ownership.accepts(owner: $0, caller: reader) } ?? false
            }.map(\.group)
        }
    }

    func snapshots(of group: BackupGroup, in namespace: Namespace) async throws -> [SourceSnapshot] {
        try await workers.run { [self] in
            try store.snapshots(in: namespace, group: group).map { entry in
                let description = SnapshotDescription(entry, in: store)
                return SourceSnapshot(
                    name: entry.name, isFinished: description.manifest != nil,
                    isVerified: description.verification?.outcome == .ok,
                    isEncrypted: SourceSnapshot.areEncrypted(description.files.map { ($0.name, $0.cryptMode) }))
            }.sorted { $0.name < $1.name }
        }
    }

    func open(_ snapshot: SnapshotName, in namespace: Namespace) async throws -> any SnapshotSource {
        let reader = try await workers.run { [self] in try store.openReader(snapshot, in: namespace, purpose: purpose) }
        return LocalSnapshot(reader: reader, store: store, workers: workers)
    }

    func close() async {}
}

extension SourceSnapshot {
    /// Whether every archive is encrypted. The manifest, the log and the key for the owner never are.
    static func areEncrypted(_ files: [(name: ArchiveName, mode: CryptMode?)]) -> Bool {
        let archives = files.filter { ![.manifest, .clientLog, .encryptedKey].contains($0.name) }
        return !archives.isEmpty && archives.allSatisfy { $0.mode == .encrypt }
    }
}

/// A snapshot of a local datastore, kept from being removed until it is closed.
struct LocalSnapshot: SnapshotSource {
    let reader: SnapshotReader
    let store: Datastore
    let workers: WorkerPool

    func blob(_ name: ArchiveName) async throws -> [UInt8]? {
        do {
            return try await workers.run { [reader] in try reader.blob(name) }
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return nil
        }
    }

    func index(_ name: ArchiveName, limit: Int) async throws -> any ByteSource {
        let index = try await workers.run { [reader] in try reader.openIndex(name) }
        return FileBody(index, workers: workers)
    }

    func chunk(_ digest: ChunkDigest, limit: Int) async throws -> [UInt8] {
        try await workers.run { [store] in try store.chunks.read(digest) }
    }

    func close() async { reader.close() }
}
