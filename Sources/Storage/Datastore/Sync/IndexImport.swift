package import BackupFormats
import Platform
import Synchronization

/// Takes an index file as it comes from another server, under a temporary name until it is placed: header, entries and
/// all. (Spec: formats §9.13.)
package final class IndexImport: Sendable {
    private struct State {
        /// Nil once placed or discarded.
        var file: IndexFile?
        var written = 0
    }

    package let name: ArchiveName
    private let label: String
    private let limit: Int
    private let options: StoreOptions
    private let placed: @Sendable (IndexSummary) -> Void
    private let state: Mutex<State>

    init(
        _ name: ArchiveName, folder: String, in label: String, limit: Int, owner: FileOwner, options: StoreOptions,
        placed: @escaping @Sendable (IndexSummary) -> Void
    ) throws {
        guard name.kind != .blob else { throw BackupFailure(.invalidInput, "\(name) is not an index") }
        self.name = name
        self.label = label
        self.limit = limit
        self.options = options
        self.placed = placed
        state = Mutex(
            State(
                file: try storing("Index \(name) of \(label) cannot be stored") {
                    try IndexFile(name, folder: folder, owner: owner, options: options)
                }))
    }

    deinit { discard() }

    /// Adds the next bytes of the file.
    ///
    /// - Throws: ``BackupFailure``: `corruptData` where there are more than the limit, `storageFull`.
    package func write(_ bytes: [UInt8]) throws {
        try state.withLock { state in
            guard let file = state.file else { throw Self.ended(name) }
            guard state.written + bytes.count <= limit else {
                throw BackupFailure(
                    .corruptData, "Index \(name) of \(label) is longer than the \(limit) bytes that it can have")
            }
            try storing("Index \(name) of \(label) cannot be stored") {
                try options.beforeStep(.indexAppend)
                try file.file.write(bytes, at: state.written)
            }
            state.written += bytes.count
        }
    }

    /// Opens what has arrived, once it was found to be what the manifest lists.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData`.
    package func check(against entry: Manifest.File) throws -> StoredIndex {
        guard let path = state.withLock({ $0.file?.file.path }) else { throw Self.ended(name) }
        let index = try StoredIndex(name, path: path, in: label)
        guard index.logicalSize == entry.size else {
            throw BackupFailure(
                .corruptData,
                "Index \(name) of \(label) is of \(index.logicalSize) bytes, and the manifest says \(entry.size)")
        }
        guard try index.computeChecksum() == entry.checksum else {
            throw BackupFailure(
                .corruptData, "Index \(name) of \(label) has another checksum than the manifest says")
        }
        return index
    }

    /// Gives the file its final name; one of that name is replaced.
    package func place(_ index: StoredIndex) throws {
        let checksum = try index.computeChecksum()
        try state.withLock { state in
            guard let file = state.file else { throw Self.ended(name) }
            try storing("Index \(name) of \(label) cannot be stored") { try file.finish() }
            state.file = nil
        }
        placed(IndexSummary(name: name, size: index.logicalSize, checksum: checksum, chunkCount: index.count))
    }

    /// Removes the temporary file. The second call does nothing, nor does one after placing.
    package func discard() {
        state.withLock { state in
            state.file?.remove()
            state.file = nil
        }
    }

    private static func ended(_ name: ArchiveName) -> BackupFailure {
        BackupFailure(.internalFault, "The copy of index \(name) has ended already")
    }
}

/// What a copied snapshot is written to: a new one in staging, or an existing one in its place.
package protocol CopyTarget: Sendable {
    /// What the copy relies on; garbage collection keeps it.
    var chunks: InUseSet { get }

    /// - Parameter limit: Bytes that the index file may have.
    func importIndex(_ name: ArchiveName, limit: Int) throws -> IndexImport

    /// Stores a blob whose CRC the caller has checked; one of the same name is replaced.
    func writeBlob(_ name: ArchiveName, _ blob: [UInt8]) throws

    /// Makes the copy a finished snapshot with this very manifest; all other files are there.
    ///
    /// - Parameter log: Takes remarks that fail nothing.
    func finish(manifest: [UInt8], log: (String) -> Void) throws

    /// Gives up what was not finished, and all locks. Does nothing after finishing.
    func discard()
}

extension SnapshotStage: CopyTarget {
    package func importIndex(_ name: ArchiveName, limit: Int) throws -> IndexImport {
        try requireActive()
        return try IndexImport(
            name, folder: folder, in: label, limit: limit, owner: store.owner, options: store.options
        ) { [weak self] summary in self?.imported(summary) }
    }

    package func finish(manifest: [UInt8], log: (String) -> Void) throws {
        try writeBlob(.manifest, manifest)
        // The manifest stays as it is: by its bytes the next run sees that nothing has changed.
        try publish(nil, log: log).close()
    }
}
