package import BackupFormats
package import Tasks
package import VirtualDisks

/// A remote of Xen Orchestra that is open, whatever its layout: the classic one of files, or a datastore of chunks.
///
/// Ids of backups are those that the caller sees: `/xo-vm-backups/<vm uuid>/<date>.json`. (Spec: xo-proxy §2.5, §4, §10.)
package protocol XenRepository: Sendable {
    /// The remote's id in the job or call; empty where none was given.
    var remoteID: String { get }
    /// What the administrator calls it, else its id, else its address without credentials.
    var name: String { get }
    /// Full backups share their blocks only where the host does not compress them. False unless the layout says it.
    var prefersUncompressedExports: Bool { get }

    /// `{ size?, used?, available? }` in bytes.
    func info() async throws -> JSONObject
    /// Writes and reads 10 MiB. Never throws: a failure is part of the result. (Spec: §4.4.)
    func test() async -> JSONObject
    /// `{ onDisk }`, and `deduplicated` for chunk stores.
    func totalBackupSize() async throws -> JSONObject

    // MARK: Virtual machines

    /// All backups, by the machine's uuid, ascending by time; machines without backups are left out.
    func vmBackups(of vm: String?) async throws -> [String: [VMBackup]]
    /// Begins to work on a machine's backups: holds its lock until `release`.
    func target(for vm: String) async throws -> any VMBackupTarget
    /// Opens one backup to restore it.
    ///
    /// - Throws: ``BackupFailure`` of kind `notFound` where there is none of that id.
    func openBackup(_ id: String) async throws -> any VMBackupReader
    /// Removes backups; a missing one is no error. Then cleans without merging. (Spec: §2.5.)
    func deleteVMBackups(_ ids: [String], task: TaskNode) async throws

    // MARK: Metadata backups

    /// `xo-config-backups` or `xo-pool-metadata-backups`: content of all `metadata.json` with `id`, ascending by time.
    func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject]
    func writeMetadataBackup(_ backup: MetadataBackup) async throws
    /// `metadata.json` and the data's name and content.
    func readMetadataBackup(_ id: String) async throws -> (metadata: JSONObject, dataName: String, data: any ByteSource)
    /// `id` as listed, with or without the slash at its beginning. Checks its form.
    func deleteMetadataBackup(_ id: String) async throws

    /// Gives up what opening it took. Called once.
    func close() async
}

extension XenRepository {
    package var prefersUncompressedExports: Bool { false }
}

/// A backup of a machine, as a listing finds it.
package struct VMBackup: Sendable {
    /// `/xo-vm-backups/<vm uuid>/<date>.json`.
    package let id: String
    /// The metadata of the backup. (Spec: §4.6, §10.4.)
    package var metadata: VMBackupMetadata
    package let isImmutable: Bool

    package init(id: String, metadata: VMBackupMetadata, isImmutable: Bool = false) {
        self.id = id
        self.metadata = metadata
        self.isImmutable = isImmutable
    }
}

/// The backups of one machine on one remote, as long as this run holds their lock. Calls come one after the other, but
/// for `write(disk:)`, of which several may run at once.
package protocol VMBackupTarget: Sendable {
    /// Before a delta backup: clean, with removal and merge; children `clean-vm` and `merge` of `task`.
    func prepare(task: TaskNode) async throws
    /// Which of these disks may be sent as a difference.
    ///
    /// - Parameter bases: By the uuid of the live disk, the uuid of the snapshot's disk that is the base.
    /// - Returns: Uuids of the live disks whose base is here, whole.
    func disksWithBase(_ bases: [String: String], jobID: String) async throws -> Set<String>
    /// Begins a backup: nothing of it is listed before ``VMBackupWriter/commit(_:)``.
    func begin(_ plan: VMBackupPlan) async throws -> any VMBackupWriter
    /// Drops what retention no longer keeps, of the same machine, mode and schedule. (Spec: §4.9.)
    ///
    /// - Parameter isBefore: Whether the new backup is yet to come (`deleteFirst`): room is made for it.
    func applyRetention(_ rule: RetentionRule, mode: VMBackupMode, scheduleID: String, isBefore: Bool, task: TaskNode)
        async throws
    /// After a backup: removes and merges; children `clean-vm` and `merge` of `task`.
    func clean(task: TaskNode) async throws
    /// Gives the lock back. Called once, also after a failure.
    func release() async
}

package enum VMBackupMode: String, Sendable { case full, delta }

/// What is about to be backed up.
package struct VMBackupPlan: Sendable {
    package let mode: VMBackupMode
    package let jobID: String
    package let scheduleID: String
    /// Unix milliseconds.
    package let timestamp: Int64

    package init(mode: VMBackupMode, jobID: String, scheduleID: String, timestamp: Int64) {
        self.mode = mode
        self.jobID = jobID
        self.scheduleID = scheduleID
        self.timestamp = timestamp
    }
}

/// One disk of a delta backup.
package struct VMBackupDisk: Sendable {
    /// Key in the metadata's `vdis`: the reference of the snapshot's disk.
    package let reference: String
    /// The live disk; for a memory image the disk's own uuid.
    package let liveUUID: String
    /// The snapshot's disk: identity of this backup of the disk.
    package let uuid: String
    /// Where the transfer is a difference: the uuid of the snapshot's disk it is relative to.
    package let baseUUID: String?
    package let isMemory: Bool

    package init(reference: String, liveUUID: String, uuid: String, baseUUID: String?, isMemory: Bool = false) {
        self.reference = reference
        self.liveUUID = liveUUID
        self.uuid = uuid
        self.baseUUID = baseUUID
        self.isMemory = isMemory
    }
}

/// A backup while it is written.
package protocol VMBackupWriter: Sendable {
    /// Mode full: the XVA. Once.
    ///
    /// - Parameters:
    ///   - maxByteCount: More will not come; object stores size their parts by it.
    /// - Returns: Bytes taken.
    func write(xva: any ByteSource, maxByteCount: UInt64) async throws -> UInt64
    /// Mode delta: one disk, whole or as difference.
    ///
    /// - Returns: Bytes taken: blocks that came times block size, and their metadata.
    func write(disk: VMBackupDisk, from source: any DiskSource) async throws -> UInt64
    /// Writes the metadata and makes the backup visible. The writer adds `xva` or `vhds`, `isVhdDifferencing` and `size`.
    ///
    /// - Returns: The id of the backup.
    func commit(_ metadata: VMBackupMetadata) async throws -> String
    /// Removes all that was written. Called instead of `commit`; also after a failed one.
    func abort() async
}

/// One backup, open for reading.
package protocol VMBackupReader: Sendable {
    var metadata: VMBackupMetadata { get }
    /// Mode full: the XVA, and its length where it is known.
    func xva() async throws -> (stream: any ByteSource, byteCount: UInt64?)
    /// Mode delta: the whole disk (merged chain) of a key of `vdis`.
    func disk(_ reference: String) async throws -> any DiskView
    func close() async
}

package enum MetadataKind: String, Sendable, CaseIterable {
    case orchestra = "xo-config-backups"
    case pool = "xo-pool-metadata-backups"
}

/// A backup of the configuration of Xen Orchestra or of a pool's database. (Spec: §4.8.)
package struct MetadataBackup: Sendable {
    package let kind: MetadataKind
    package let scheduleID: String
    /// For pools.
    package let poolUUID: String?
    /// Unix milliseconds.
    package let timestamp: Int64
    /// Content of `metadata.json`.
    package let metadata: JSONObject
    /// `data.json` or `data`.
    package let dataName: String
    package let data: any ByteSource
    /// Backups of this schedule (and pool) to keep, this one included.
    package let retention: Int

    package init(
        kind: MetadataKind, scheduleID: String, poolUUID: String?, timestamp: Int64, metadata: JSONObject,
        dataName: String, data: any ByteSource, retention: Int
    ) {
        self.kind = kind
        self.scheduleID = scheduleID
        self.poolUUID = poolUUID
        self.timestamp = timestamp
        self.metadata = metadata
        self.dataName = dataName
        self.data = data
        self.retention = retention
    }
}
