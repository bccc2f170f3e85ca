import BackupFormats
package import Platform
import Synchronization

/// A folder that holds backups: chunks, and a tree of namespaces, groups and snapshots above them.
///
/// Invariants while it is open for writing: no other process of ours has it open so; a PBS that shares the folder
/// collects no garbage; every folder with the name of a snapshot that we made is complete; what is being written
/// lies below `.cairn/sessions` and is in ``sessions``.
///
/// All calls block, may come from many threads at once, and throw ``BackupFailure``.
package final class Datastore: Sendable {
    package let name: String
    /// Absolute, without links.
    package let path: String
    package let chunks: ChunkStore
    package let sessions = SessionRegistry()
    /// Why the store cannot be written; nil where it can.
    package let readOnlyReason: String?
    /// The UPIDs of sessions that the last process left unfinished; opening has removed what they wrote.
    package let interruptedTasks: [String]

    /// What has arrived for snapshots that no synchronisation has finished yet.
    package let arrivals: ArrivalBook

    let layout: StoreLayout
    let owner: FileOwner
    let options: StoreOptions
    let syncGate: SyncGate
    let collections = CollectionBoard()
    /// Held until ``close()``; nil where the store is open for reading only.
    private let locks: Mutex<OpenerLocks?>

    init(
        name: String, layout: StoreLayout, owner: FileOwner, options: StoreOptions, readOnlyReason: String?,
        interruptedTasks: [String], locks: consuming sending OpenerLocks?
    ) throws {
        self.name = name
        path = layout.root
        self.layout = layout
        self.owner = owner
        self.options = options
        self.readOnlyReason = readOnlyReason
        self.interruptedTasks = interruptedTasks
        self.locks = Mutex(locks)
        chunks = ChunkStore(layout: layout, owner: owner, options: options, isReadOnly: readOnlyReason != nil)
        arrivals = ArrivalBook(folder: layout.arrivals, owner: owner, pins: chunks.pins, time: options.time)
        if readOnlyReason == nil {
            try storing("Datastore \(name) cannot be opened") { [arrivals] in try arrivals.load() }
        }
        // Kept open, so that failed writes since now are reported by a later sync.
        let root = try storing("Datastore \(name) cannot be opened") { try OpenFile(layout.root) }
        syncGate = SyncGate { try root.syncFileSystem() }
    }

    package var isReadOnly: Bool { readOnlyReason != nil }

    /// Gives up the locks, so that another process may open the store. The second call does nothing.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while a session writes, a snapshot is in use or garbage is
    ///   collected.
    package func close() throws {
        try collections.close(name)
        do { try sessions.close() } catch {
            collections.reopen()
            throw error
        }
        locks.withLock { $0 = nil }
    }

    /// Keeps other servers out, which the lock of an open store does not: they may share it.
    func beginExclusiveUse() throws {
        try locks.withLock { locks in
            do { try locks?.process.change(to: .exclusive) } catch let error as SystemError where error.isLocked {
                throw BackupFailure(
                    .conflict, "Garbage of datastore \(name) cannot be collected: another server uses it", cause: error)
            }
        }
    }

    func endExclusiveUse() {
        // To share what one has alone cannot fail but by a kernel without locks; then the stronger lock stays.
        locks.withLock { _ = try? $0?.process.change(to: .shared) }
    }

    func requireWritable() throws {
        if let readOnlyReason {
            throw BackupFailure(.conflict, "Datastore \(name) is open for reading only: \(readOnlyReason)")
        }
        if locks.withLock({ $0 == nil }) { throw BackupFailure(.conflict, "Datastore \(name) is closed") }
    }

    /// Room on the file system.
    package func usage() throws -> FileSystemSpace {
        try storing("The free space of datastore \(name) cannot be found out") { try FileSystem.space(of: path) }
    }
}

/// What keeps others out of an open store.
struct OpenerLocks: Sendable {
    /// On `.cairn/lock`, against other processes of ours.
    let opener: FileLock
    /// On `.lock`, shared, against the garbage collection of a PBS. Its file must have no other descriptor in this process.
    let process: FileLock
}
