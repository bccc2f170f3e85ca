import BackupFormats
import BackupProtocol

/// A snapshot as its source lists it.
struct SourceSnapshot: Hashable, Sendable {
    let name: SnapshotName
    /// Unfinished ones have no size.
    let isFinished: Bool
    /// Whether its last verification found it good.
    let isVerified: Bool
    /// Whether all archives are encrypted.
    let isEncrypted: Bool
}

/// Where snapshots come from: a remote, or a datastore of this server.
protocol SyncSource: Sendable {
    /// For logs: `remote 'site2', datastore 'main'`.
    var label: String { get }
    /// A namespace and those below it, each in front of its children.
    func namespaces(below start: Namespace, maxDepth: Int) async throws -> [Namespace]
    func groups(in namespace: Namespace) async throws -> [BackupGroup]
    /// Oldest first.
    func snapshots(of group: BackupGroup, in namespace: Namespace) async throws -> [SourceSnapshot]
    func open(_ snapshot: SnapshotName, in namespace: Namespace) async throws -> any SnapshotSource
    func close() async
}

/// One snapshot, open for reading.
protocol SnapshotSource: Sendable {
    /// The stored bytes of a blob; nil where there is none.
    func blob(_ name: ArchiveName) async throws -> [UInt8]?
    /// The bytes of an index file, of at most `limit`.
    func index(_ name: ArchiveName, limit: Int) async throws -> any ByteSource
    /// The stored bytes of a chunk of an index that was asked for before.
    func chunk(_ digest: ChunkDigest, limit: Int) async throws -> [UInt8]
    func close() async
}
