package import BackupFormats
package import Platform

/// The signatures of the store while its parts are being written.
func notBuilt() -> BackupFailure { BackupFailure(.unsupported, "This part of the datastore is not built yet") }

extension InUseSet {
    /// Puts a digest into the set *before* it is relied on.
    package func pin(_ digest: ChunkDigest, length: Int, origin: Origin) {}
    /// The plain length of a known chunk; nil for digests that may not be appended.
    package func knownLength(of digest: ChunkDigest) -> Int? { nil }
    package func contains(_ digest: ChunkDigest) -> Bool { false }
    package var count: Int { 0 }
}

package struct ChunkInsertion: Sendable {
    package var isDuplicate: Bool
    /// Bytes of the chunk file that the store now has.
    package var storedByteCount: Int
}

package final class ChunkStore: Sendable {
    package func insert(_ blob: [UInt8], as digest: ChunkDigest, length: Int, pinning set: InUseSet) throws -> ChunkInsertion { throw notBuilt() }
    package func read(_ digest: ChunkDigest) throws -> [UInt8] { throw notBuilt() }
    package func byteCount(of digest: ChunkDigest) throws -> Int? { throw notBuilt() }
    @discardableResult package func touch(_ digest: ChunkDigest) throws -> Bool { throw notBuilt() }
    package func markBad(_ digest: ChunkDigest) throws -> String { throw notBuilt() }
}

package struct RunningSnapshot: Sendable {
    package let namespace: Namespace
    package let snapshot: SnapshotName
    package let owner: AuthID
    package let task: String
    package let base: SnapshotName?
    package let isBenchmark: Bool
}

package final class SessionRegistry: Sendable {
    package func running(below namespace: Namespace = .root) -> [RunningSnapshot] { [] }
    package func running(_ snapshot: SnapshotName, in namespace: Namespace) -> RunningSnapshot? { nil }
    package var activeCount: Int { 0 }
}

package struct StoreUsage: Sendable {
    package var total: Int64
    package var used: Int64
    package var available: Int64
}

package struct StoreCounts: Sendable {
    package struct PerType: Sendable { package var groups = 0, snapshots = 0 }
    package var types: [BackupType: PerType] = [:]
}

package struct GroupEntry: Sendable {
    package let namespace: Namespace
    package let group: BackupGroup
    package let owner: AuthID?
    package let snapshotCount: Int
    package let newest: SnapshotEntry?
    package let notes: String?
}

package struct SnapshotFileEntry: Hashable, Sendable {
    package let name: ArchiveName
    package let byteCount: Int
}

package struct SnapshotEntry: Sendable {
    package let namespace: Namespace
    package let name: SnapshotName
    package let files: [SnapshotFileEntry]
    package let isProtected: Bool
    package let isFinished: Bool
    package let owner: AuthID?
    package let runningTask: String?
}

package struct RemovalCounts: Hashable, Sendable {
    package var removedNamespaces = 0, removedGroups = 0, removedSnapshots = 0, protectedSnapshots = 0
}

package final class Datastore: Sendable {
    package let name: String
    package let path: String
    package let chunks: ChunkStore
    package let sessions: SessionRegistry
    package var isReadOnly: Bool { false }
    package var readOnlyReason: String? { nil }
    private init() { fatalError() }
    package static func create(name: String, at path: String, options: StoreOptions = StoreOptions()) throws { throw notBuilt() }
    package static func open(name: String, at path: String, options: StoreOptions = StoreOptions()) throws -> Datastore { throw notBuilt() }
    package func close() throws { throw notBuilt() }
    package func usage() throws -> StoreUsage { throw notBuilt() }
    package func counts() throws -> StoreCounts { throw notBuilt() }

    package func namespaceExists(_ namespace: Namespace) throws -> Bool { throw notBuilt() }
    package func namespaces(below parent: Namespace = .root, maxDepth: Int = Namespace.maxDepth) throws -> [Namespace] { throw notBuilt() }
    package func createNamespace(_ namespace: Namespace) throws { throw notBuilt() }
    package func removeNamespace(_ namespace: Namespace, includingGroups: Bool) throws -> RemovalCounts { throw notBuilt() }

    package func groups(in namespace: Namespace) throws -> [GroupEntry] { throw notBuilt() }
    package func owner(of group: BackupGroup, in namespace: Namespace) throws -> AuthID { throw notBuilt() }
    package func setOwner(_ owner: AuthID, of group: BackupGroup, in namespace: Namespace) throws { throw notBuilt() }
    package func groupNotes(_ group: BackupGroup, in namespace: Namespace) throws -> String { throw notBuilt() }
    package func setGroupNotes(_ notes: String, of group: BackupGroup, in namespace: Namespace) throws { throw notBuilt() }
    package func removeGroup(_ group: BackupGroup, in namespace: Namespace) throws -> RemovalCounts { throw notBuilt() }

    package func snapshots(in namespace: Namespace, group: BackupGroup? = nil) throws -> [SnapshotEntry] { throw notBuilt() }
    package func snapshot(_ snapshot: SnapshotName, in namespace: Namespace) throws -> SnapshotEntry { throw notBuilt() }
    package func manifestBytes(of snapshot: SnapshotName, in namespace: Namespace) throws -> [UInt8] { throw notBuilt() }
    package func updateUnprotected(of snapshot: SnapshotName, in namespace: Namespace, _ change: (inout JSONObject) throws -> Void) throws { throw notBuilt() }
    package func notes(of snapshot: SnapshotName, in namespace: Namespace) throws -> String { throw notBuilt() }
    package func setNotes(_ notes: String, of snapshot: SnapshotName, in namespace: Namespace) throws { throw notBuilt() }
    package func isProtected(_ snapshot: SnapshotName, in namespace: Namespace) throws -> Bool { throw notBuilt() }
    package func setProtected(_ isProtected: Bool, _ snapshot: SnapshotName, in namespace: Namespace) throws { throw notBuilt() }
    package func removeSnapshot(_ snapshot: SnapshotName, in namespace: Namespace) throws { throw notBuilt() }
    package func storeClientLog(_ blob: [UInt8], for snapshot: SnapshotName, in namespace: Namespace) throws { throw notBuilt() }

    package func openReader(_ snapshot: SnapshotName, in namespace: Namespace, purpose: String) throws -> SnapshotReader { throw notBuilt() }
    package func beginSnapshot(_ request: SnapshotRequest) throws -> SnapshotStage { throw notBuilt() }
    package func verify(_ snapshot: SnapshotName, in namespace: Namespace, task: String, log: @escaping @Sendable (String) -> Void) throws -> VerifyOutcome { throw notBuilt() }
}

package struct VerifyOutcome: Sendable { package var isGood: Bool; package var errors: [String] }

package struct SnapshotRequest: Sendable {
    package var namespace: Namespace
    package var snapshot: SnapshotName
    package var owner: AuthID
    /// The UPID of the session's task.
    package var task: String
    package var isBenchmark: Bool
    package init(namespace: Namespace, snapshot: SnapshotName, owner: AuthID, task: String, isBenchmark: Bool = false) {
        self.namespace = namespace; self.snapshot = snapshot; self.owner = owner; self.task = task; self.isBenchmark = isBenchmark
    }
}

/// A finished snapshot held by a shared lock until `close` or the value goes.
package final class SnapshotReader: Sendable {
    package func openIndex(_ name: ArchiveName) throws -> StoredIndex { throw notBuilt() }
    package func blob(_ name: ArchiveName) throws -> [UInt8] { throw notBuilt() }
    package func close() {}
}

package struct IndexEntry: Hashable, Sendable {
    package var digest: ChunkDigest
    /// Start of the chunk in the archive.
    package var offset: UInt64
    package var length: Int
}

/// An index file, read in pieces.
package final class StoredIndex: Sendable {
    package let name: ArchiveName
    package let file: OpenFile
    package let count: Int
    package let logicalSize: UInt64
    private init() { fatalError() }
    package func forEach(_ body: (IndexEntry) throws -> Void) throws { throw notBuilt() }
    package func computeChecksum() throws -> ChunkDigest { throw notBuilt() }
}

package struct IndexSummary: Sendable { package var name: ArchiveName; package var size: UInt64; package var checksum: ChunkDigest; package var chunkCount: Int }

package protocol IndexWriter: Sendable {
    var name: ArchiveName { get }
    /// `offset` is where the chunk starts in the archive; the caller has checked that the digest is known.
    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws
    /// Checks count, size and checksum and gives the file its final name; a failure discards the writer and its file.
    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary
    func discard()
}

package struct UploadStatistics: Sendable {
    package var count: UInt64 = 0, size: UInt64 = 0, compressedSize: UInt64 = 0, duplicates: UInt64 = 0
    package init() {}
}

package final class SnapshotStage: Sendable {
    package let request: SnapshotRequest
    /// The base: the newest finished snapshot, unless its verification failed.
    package let base: SnapshotName?
    package let chunks: InUseSet
    private init() { fatalError() }
    package func createDynamicIndex(_ name: ArchiveName) throws -> any IndexWriter { throw notBuilt() }
    package func createFixedIndex(_ name: ArchiveName, size: UInt64, reusing checksum: [UInt8]?) throws -> any IndexWriter { throw notBuilt() }
    package func writeBlob(_ name: ArchiveName, _ blob: [UInt8]) throws { throw notBuilt() }
    package func openPreviousIndex(_ name: ArchiveName) throws -> StoredIndex { throw notBuilt() }
    package func previousBlob(_ name: ArchiveName) throws -> [UInt8] { throw notBuilt() }
    package func publish(_ statistics: UploadStatistics, log: @Sendable (String) -> Void) throws -> SnapshotReader { throw notBuilt() }
    package func discard() {}
}
