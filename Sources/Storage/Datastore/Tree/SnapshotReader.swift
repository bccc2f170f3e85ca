package import BackupFormats

/// A snapshot held by a shared lock, so that nobody removes it, until ``close()`` or until the value goes.
package final class SnapshotReader: Sendable {
    package let snapshot: SnapshotName
    package let namespace: Namespace
    let store: Datastore
    private let lock: StoreLock

    init(_ store: Datastore, _ snapshot: SnapshotName, in namespace: Namespace, lock: StoreLock) {
        self.store = store
        self.snapshot = snapshot
        self.namespace = namespace
        self.lock = lock
    }

    private var folder: String { store.layout.folder(of: snapshot, in: namespace) }
    private var label: String { text(snapshot, in: namespace) }

    /// - Throws: ``BackupFailure``: `noSuchObject` where there is no such index, `corruptData`, `invalidInput` for the
    ///   name of a blob.
    package func openIndex(_ name: ArchiveName) throws -> StoredIndex {
        try StoredIndex(name, folder: folder, in: label)
    }

    /// The stored bytes of a blob, CRC unchecked.
    ///
    /// - Throws: ``BackupFailure``: `notFound` where there is none.
    package func blob(_ name: ArchiveName) throws -> [UInt8] { try readBlob(name, folder: folder, in: label) }

    package func manifest() throws -> Manifest { try store.manifest(of: snapshot, in: namespace) }

    /// Gives up the lock. The second call does nothing.
    package func close() { lock.release() }
}

extension Datastore {
    /// The stored bytes of a blob of a finished snapshot, CRC unchecked; without a lock, so it may vanish meanwhile.
    ///
    /// - Throws: ``BackupFailure``: `notFound` where there is no such blob or snapshot, `conflict` where it is being written.
    package func blob(_ name: ArchiveName, of snapshot: SnapshotName, in namespace: Namespace) throws -> [UInt8] {
        try sessions.requireNotRunning(snapshot, in: namespace)
        return try readBlob(
            name, folder: layout.folder(of: snapshot, in: namespace), in: text(snapshot, in: namespace))
    }

    /// - Parameter purpose: Who reads, for the failures of others: "the restore of task UPID:…".
    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` where it is being written or removed.
    package func openReader(_ snapshot: SnapshotName, in namespace: Namespace, purpose: String) throws -> SnapshotReader
    {
        let lock = try sessions.lock(snapshot, in: namespace, .shared, purpose: purpose)
        try requireSnapshot(snapshot, in: namespace)
        return SnapshotReader(self, snapshot, in: namespace, lock: lock)
    }
}
