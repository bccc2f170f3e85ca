package import BackupFormats
import Platform
import Synchronization

/// Writes into a snapshot that exists: files that differ from the source's are replaced one by one, the manifest last.
/// (Spec: formats §9.13, steps 3 to 6; design decision 1.10.)
///
/// It holds the group's lock and the snapshot's exclusive one until ``finish(manifest:log:)`` or ``discard()``.
package final class SnapshotRepair: CopyTarget {
    package let snapshot: SnapshotName
    package let namespace: Namespace
    package let chunks: InUseSet
    private let store: Datastore
    private let locks: Mutex<[StoreLock]>

    init(_ store: Datastore, _ snapshot: SnapshotName, in namespace: Namespace, locks: [StoreLock]) {
        self.store = store
        self.snapshot = snapshot
        self.namespace = namespace
        self.locks = Mutex(locks)
        chunks = store.chunks.pins.makeSet()
    }

    deinit { discard() }

    private var folder: String { store.layout.folder(of: snapshot, in: namespace) }
    private var label: String { text(snapshot, in: namespace) }

    package func importIndex(_ name: ArchiveName, limit: Int) throws -> IndexImport {
        try IndexImport(name, folder: folder, in: label, limit: limit, owner: store.owner, options: store.options) {
            _ in
        }
    }

    package func writeBlob(_ name: ArchiveName, _ blob: [UInt8]) throws {
        guard name.kind == .blob else { throw BackupFailure(.invalidInput, "\(name) does not end in .blob") }
        try storing("Blob \(name) of \(label) cannot be written") {
            try store.options.beforeStep(.blobWrite)
            try replace(name, blob)
        }
    }

    private func replace(_ name: ArchiveName, _ bytes: [UInt8]) throws {
        try AtomicFile.replace(
            "\(folder)/\(name)", with: bytes, mode: StoreLayout.fileMode, owner: store.owner.toGive,
            isSynced: store.options.syncLevel != .none)
    }

    package func finish(manifest bytes: [UInt8], log: (String) -> Void) throws {
        let manifest = try storing("The manifest of \(label) cannot be read") { try Manifest(blob: bytes) }
        if store.options.syncLevel != .none {
            try storing("Snapshot \(label) cannot be made durable") {
                try store.options.beforeStep(.syncFileSystem)
                try store.syncGate.pass()
            }
        }
        let lock = try store.sessions.lockManifest(of: snapshot, in: namespace)
        defer { lock.release() }
        try storing("The manifest of \(label) cannot be written") {
            try store.options.beforeStep(.manifestRewrite)
            try replace(.manifest, bytes)
        }
        let kept = Set(manifest.files.map(\.name)).union([.manifest, .clientLog])
        for file in try store.snapshot(snapshot, in: namespace).files where !kept.contains(file.name) {
            log("remove \(file.name) of \(label), which the manifest does not list")
            try storing("\(file.name) of \(label) cannot be removed") {
                _ = try FileSystem.removeFile("\(folder)/\(file.name)")
            }
        }
        try storing("Snapshot \(label) cannot be made durable") { try store.sync([folder]) }
        discard()
    }

    package func discard() {
        let held = locks.withLock { locks in
            defer { locks = [] }
            return locks
        }
        for lock in held { lock.release() }
        store.chunks.pins.end(chunks)
    }
}

extension Datastore {
    /// Begins to write into an existing snapshot, for a synchronisation that has found another state at its source.
    ///
    /// - Parameter purpose: Who does it, for the failures of others: "the sync of task UPID:…".
    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` where the group or the snapshot is in use.
    package func beginRepair(
        of snapshot: SnapshotName, in namespace: Namespace, purpose: String
    ) throws -> SnapshotRepair {
        try requireWritable()
        let group = try sessions.lock(snapshot.group, in: namespace, purpose: purpose)
        do {
            let lock = try sessions.lock(snapshot, in: namespace, .exclusive, purpose: purpose)
            try requireSnapshot(snapshot, in: namespace)
            return SnapshotRepair(self, snapshot, in: namespace, locks: [group, lock])
        } catch {
            group.release()
            throw error
        }
    }
}
