package import BackupFormats
import Platform
import Synchronization

/// A snapshot being written: a folder that nobody sees until it is published by one rename. (Design decision 1.)
///
/// It holds the group's lock, its snapshot's and the base's shared one until ``publish(_:log:)`` or ``discard()``.
/// Whoever ends a session calls `discard()` in every case; after publication it does nothing.
package final class SnapshotStage: Sendable {
    enum Phase: Equatable {
        case active, publishing
        /// Discarding was asked for while publication ran; it stops before the rename.
        case cancelling
        case published, discarded
    }

    struct State {
        var phase = Phase.active
        var indexes: [ArchiveName: IndexSummary] = [:]
        var blobs: Set<ArchiveName> = []
        var open: [ObjectIdentifier: StagedIndexWriter] = [:]
        /// Archives whose close failed: the snapshot can no longer be finished.
        var failed: [ArchiveName] = []
        var locks: [StoreLock]
    }

    package let request: SnapshotRequest
    /// The base: the newest finished snapshot of the group, unless its verification failed.
    package let base: SnapshotName?
    /// The session's known chunks, which garbage collection keeps.
    package let chunks: InUseSet

    let store: Datastore
    let folder: String
    let running: RunningSnapshot
    let state: Mutex<State>
    private let noteFile: String

    init(
        _ store: Datastore, _ request: SnapshotRequest, base: SnapshotName?, groupLock: StoreLock, baseLock: StoreLock?
    ) throws {
        self.store = store
        self.request = request
        self.base = base
        chunks = store.chunks.pins.makeSet()
        state = Mutex(State(locks: [groupLock] + (baseLock.map { [$0] } ?? [])))
        let label = text(request.snapshot, in: request.namespace)
        let (layout, owner) = (store.layout, store.owner)
        do {
            let id = Hex.encode(try SystemRandom.uuid())
            folder = "\(layout.sessions)/\(id)"
            noteFile = folder + StageNote.suffix
            running = RunningSnapshot(
                namespace: request.namespace, snapshot: request.snapshot, owner: request.owner, task: request.task,
                base: base, isBenchmark: request.isBenchmark, startTime: store.options.time.seconds, folder: folder)
            try store.sessions.add(running)
        } catch {
            store.chunks.sessionEnded(chunks)
            throw error
        }
        do {
            try storing("Snapshot \(label) cannot be begun") {
                try store.options.beforeStep(.stageFolder)
                try owner.makeFolder(layout.sessions, mode: StoreLayout.privateMode)
                try AtomicFile.replace(noteFile, with: Array(StageNote(request).text.utf8), owner: owner.toGive)
                try owner.makeFolder(folder, mode: StoreLayout.privateMode)
            }
        } catch {
            // The object is complete: this gives up all that it has.
            discard()
            throw error
        }
    }

    deinit { discard() }

    var label: String { text(request.snapshot, in: request.namespace) }

    func requireActive() throws {
        switch state.withLock({ $0.phase }) {
        case .active: return
        case .publishing, .cancelling: throw BackupFailure(.invalidInput, "Snapshot \(label) is being finished")
        case .published: throw BackupFailure(.invalidInput, "Snapshot \(label) is finished already")
        case .discarded: throw BackupFailure(.cancelled, "The backup of \(label) has been given up")
        }
    }

    // MARK: Writing

    /// An archive may be written more than once; the writer that is closed last wins.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the name is not that of a dynamic index.
    package func createDynamicIndex(_ name: ArchiveName) throws -> any IndexWriter {
        guard name.kind == .dynamicIndex else { throw BackupFailure(.invalidInput, "\(name) does not end in .didx") }
        return try register(name) {
            try DynamicIndexWriter(name, folder: folder, owner: store.owner, options: store.options)
        }
    }

    /// - Parameters:
    ///   - size: Bytes of the image, at most 64 TiB. Chunks have 4 MiB.
    ///   - checksum: The checksum of the base's index of that name, whose entries are to be taken over; it is
    ///     computed anew. The entries are kept by garbage collection, but not known.
    /// - Throws: ``BackupFailure``: as ``createDynamicIndex(_:)``; `invalidInput` for a size out of bounds, without a
    ///   base, where the base has no such archive, another checksum, or another number of chunks.
    package func createFixedIndex(_ name: ArchiveName, size: UInt64, reusing checksum: [UInt8]? = nil) throws
        -> any IndexWriter
    {
        guard name.kind == .fixedIndex else { throw BackupFailure(.invalidInput, "\(name) does not end in .fidx") }
        return try register(name) {
            let base = try checksum.map { try previousIndex(name, checksum: $0) }
            try base?.forEach { chunks.pin($0.digest, length: $0.length, origin: .copied) }
            return try FixedIndexWriter(
                name, size: size, base: base, folder: folder, owner: store.owner, options: store.options)
        }
    }

    private func previousIndex(_ name: ArchiveName, checksum: [UInt8]) throws -> StoredIndex {
        let index = try baseIndex(name)
        let own = try index.computeChecksum()
        guard own.bytes == checksum else {
            throw BackupFailure(
                .invalidInput,
                "Index \(name) cannot reuse the previous one: its checksum is \(own), the client says \(Hex.encode(checksum))"
            )
        }
        return index
    }

    private func register(_ name: ArchiveName, _ make: () throws -> any IndexWriter) throws -> any IndexWriter {
        try requireActive()
        let writer = StagedIndexWriter(try make(), self)
        state.withLock { $0.open[ObjectIdentifier(writer)] = writer }
        return writer
    }

    /// The close of a writer came out so.
    func closed(_ writer: StagedIndexWriter, _ summary: IndexSummary?) {
        state.withLock { state in
            state.open[ObjectIdentifier(writer)] = nil
            if let summary { state.indexes[summary.name] = summary } else { state.failed.append(writer.name) }
        }
    }

    /// An index was taken over whole.
    func imported(_ summary: IndexSummary) { state.withLock { $0.indexes[summary.name] = summary } }

    func discarded(_ writer: StagedIndexWriter) { state.withLock { $0.open[ObjectIdentifier(writer)] = nil } }

    /// Stores a blob whose CRC the caller has checked; one of the same name is replaced.
    package func writeBlob(_ name: ArchiveName, _ blob: [UInt8]) throws {
        guard name.kind == .blob else { throw BackupFailure(.invalidInput, "\(name) does not end in .blob") }
        try requireActive()
        try storing("Blob \(name) of \(label) cannot be written") {
            try store.options.beforeStep(.blobWrite)
            try AtomicFile.replace(
                "\(folder)/\(name)", with: blob, mode: StoreLayout.fileMode, owner: store.owner.toGive)
        }
        _ = state.withLock { $0.blobs.insert(name) }
    }

    /// Closed indexes and blobs so far.
    package var fileCount: Int { state.withLock { $0.indexes.count + $0.blobs.count } }

    // MARK: The base

    private func requireBase() throws -> SnapshotName {
        guard let base else {
            throw BackupFailure(.invalidInput, "There is no previous snapshot of \(request.snapshot.group)")
        }
        return base
    }

    private func baseIndex(_ name: ArchiveName) throws -> StoredIndex {
        let base = try requireBase()
        return try StoredIndex(
            name, folder: store.layout.folder(of: base, in: request.namespace), in: text(base, in: request.namespace))
    }

    /// An index of the base; all its chunks are known to the session when this returns.
    ///
    /// - Throws: ``BackupFailure``: `invalidInput` without a base, `noSuchObject` where it has no such index.
    package func openPreviousIndex(_ name: ArchiveName) throws -> StoredIndex {
        try requireActive()
        let index = try baseIndex(name)
        try index.forEach { chunks.pin($0.digest, length: $0.length, origin: .previous) }
        return index
    }

    /// The stored bytes of a blob of the base.
    ///
    /// - Throws: ``BackupFailure``: `invalidInput` without a base, `notFound` where it has no such blob.
    package func previousBlob(_ name: ArchiveName) throws -> [UInt8] {
        try requireActive()
        let base = try requireBase()
        return try readBlob(
            name, folder: store.layout.folder(of: base, in: request.namespace), in: text(base, in: request.namespace))
    }

    // MARK: The end

    /// Removes what was written and gives up the locks. While publication runs it is stopped before the rename, if
    /// that has not happened; then the publishing call does the rest. Otherwise the second call does nothing.
    package func discard() {
        let writers: [any IndexWriter]? = state.withLock { state in
            switch state.phase {
            case .active:
                state.phase = .discarded
                return Array(state.open.values)
            case .publishing:
                state.phase = .cancelling
                return nil
            case .cancelling, .published, .discarded:
                return nil
            }
        }
        guard let writers else { return }
        for writer in writers { writer.discard() }
        removeStaged()
        giveUpLocks(registered: true)
    }

    func removeStaged() {
        // What cannot be removed now is removed when the store is next opened.
        // Moved away first, so that a call that still writes into the folder by its path fails.
        _ = try? store.moveAside(folder)
        removeNote()
    }

    func removeNote() { _ = try? FileSystem.removeFile(noteFile) }

    func giveUpLocks(registered: Bool) {
        if registered { store.sessions.remove(running) }
        let locks = state.withLock { state in
            defer { state.locks = [] }
            return state.locks
        }
        for lock in locks { lock.release() }
        store.chunks.sessionEnded(chunks)
    }
}

/// Reads a `.blob` file, its CRC unchecked.
///
/// - Throws: ``BackupFailure``: `notFound` where there is none, `invalidInput` where the name is not that of a blob.
func readBlob(_ name: ArchiveName, folder: String, in snapshot: String) throws -> [UInt8] {
    guard name.kind == .blob else { throw BackupFailure(.invalidInput, "\(name) is not a blob") }
    return try storing("Blob \(name) of \(snapshot) cannot be read") {
        guard let bytes = try FileSystem.readIfPresent("\(folder)/\(name)", limit: BlobLimits.encodedBlob.upperBound)
        else {
            throw BackupFailure(.notFound, "Snapshot \(snapshot) has no file \(name)")
        }
        return bytes
    }
}
