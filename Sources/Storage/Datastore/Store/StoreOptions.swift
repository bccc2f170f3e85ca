package import BackupFormats
import Platform

/// What a store promises about power cuts. A chunk that was acknowledged survives the end of this process at every
/// level. (Design decision 3; spec: formats §9.6.)
package enum SyncLevel: String, CaseIterable, Sendable {
    /// Nothing is forced to the disk: only what survives the process.
    case none
    /// Each chunk is synced when it is written; snapshots as with `filesystem`.
    case file
    /// One sync of the file system before a snapshot is published.
    case filesystem
}

/// How a datastore is created and opened.
package struct StoreOptions: Sendable {
    package var syncLevel: SyncLevel = .filesystem
    /// Whether `create` makes all 65,536 prefix folders, as a PBS demands. Tests leave them out.
    package var makesPrefixFolders = true
    /// Opens without writing anything, not even locks; everything that changes the store is refused.
    package var isReadOnly = false
    /// Free bytes below which no session begins, so that what runs can still finish; nil for the smaller of 1 GiB and a
    /// hundredth of the file system. (Design decision 10.)
    package var minimumFreeByteCount: Int64?
    /// Bytes that garbage collection uses for the digests in use, at most 43 a chunk; what is more goes to the disk.
    package var collectionMemory = 1 << 30
    /// Gives the creation times of index files.
    package var time: TimeSource = .system
    /// Called before each step that changes the disk; tests make it throw, wait or stop the process there.
    package var beforeStep: @Sendable (StoreStep) throws -> Void = { _ in }

    package init() {}
}

/// The places at which tests inject faults, in the order in which a backup comes by.
package enum StoreStep: String, CaseIterable, Sendable {
    case stageFolder, chunkWrite, chunkRename, indexCreate, indexAppend, indexClose, indexRename, blobWrite
    case finishCheck, manifestRewrite, groupFolder, ownerWrite, syncFileSystem, publishRename, syncFolders, published
    case moveAside, removeMovedAside
    case collectWalk, collectIndex, collectSpill, collectFolder, collectRemove, collectStatus
}
