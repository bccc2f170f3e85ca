import BackupFormats
import BackupProtocol

/// A snapshot as a datastore lists it.
struct StoredSnapshot: Sendable, Hashable {
    let name: SnapshotName
    /// Bytes of its files on the disk, by name.
    let files: [ArchiveName: Int]
    let isProtected: Bool

    func has(_ archive: ArchiveName) -> Bool { files[archive] != nil }
}

/// A datastore and a namespace in it, as backups of Xen machines use them: on this server, or on another one.
protocol ChunkStoreConnection: Sendable {
    var address: ChunkStoreAddress { get }
    /// Whether a session may build on any finished snapshot of its group; otherwise only on the newest. (Decision 10.)
    var takesAnyBase: Bool { get }

    /// All finished snapshots of the namespace of that type, sorted.
    func snapshots(_ type: BackupType) async throws -> [StoredSnapshot]
    /// The finished snapshots of a group, oldest first; none where there is no such group.
    func snapshots(of group: BackupGroup) async throws -> [StoredSnapshot]
    /// The stored bytes of blobs; those that have vanished meanwhile, or cannot be read, are nil.
    func blobs(_ wanted: [(snapshot: SnapshotName, archive: ArchiveName)]) async throws -> [[UInt8]?]
    /// Whether a disk of a snapshot can be built upon: its index is whole, and no verification has failed.
    func isSound(_ archive: ArchiveName, of snapshot: SnapshotName) async throws -> Bool

    /// - Parameter base: What the session builds on; nil: the newest.
    /// - Throws: ``BackupFailure`` of kind `conflict` where somebody else is writing to the group.
    func openBackup(_ snapshot: SnapshotName, base: SnapshotName?) async throws -> any BackupTransport
    func openReader(_ snapshot: SnapshotName) async throws -> any BackupTransport
    /// A snapshot that is not there is no error.
    func remove(_ snapshot: SnapshotName) async throws

    /// `{ size, used, available }` in bytes.
    func space() async throws -> JSONObject
    /// Bytes that the chunks of these snapshots take, each counted once; nil where that cannot be told.
    func storedBytes(of snapshots: [StoredSnapshot]) async throws -> UInt64?
    func close() async
}

/// The files that Xen backups consist of. (Spec: xo-proxy §10.2.)
enum XenArchive {
    static let metadata = ArchiveName("xo-metadata.json.blob")!
    static let machine = ArchiveName("ova.xml.blob")!
    static let stream = ArchiveName("vm.xva.didx")!
    /// Of backups of metadata.
    static let description = ArchiveName("metadata.json.blob")!
    static let dataText = ArchiveName("data.json.blob")!
    static let data = ArchiveName("data.blob")!
    static let longDataText = ArchiveName("data.json.didx")!
    static let longData = ArchiveName("data.didx")!

    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the id cannot be part of a name.
    static func disk(_ id: String, isMemory: Bool) throws -> ArchiveName {
        guard let name = ArchiveName("\(isMemory ? "suspend" : "disk")-\(id).img.fidx") else {
            throw BackupFailure(.invalidInput, "'\(id)' cannot be the name of a disk in a datastore")
        }
        return name
    }
}
