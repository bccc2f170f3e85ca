package import BackupFormats

/// The rules of one backup session, without I/O: each step of a call is asked for here first, and reported back where
/// it can fail outside. (Spec: protocol B.1; decisions 5 and 7.)
///
/// Invariants: writer ids count from 1 in the order of ``register(_:name:size:isIncremental:)``; a writer is in
/// `writers` from there until its close begins; once the phase is `finished` nothing changes any more.
///
/// Which chunks are known, and how long they are, is kept by the caller, next to the store's set of chunks in use.
package struct BackupSessionRules: ~Copyable {
    package enum Phase: Sendable, Equatable {
        case active, finishing, finished, over
    }

    /// Counts over all closed indexes and stored blobs, as they go into the manifest.
    package struct Statistics: Sendable, Equatable {
        package var count: UInt64 = 0
        /// Plain bytes of chunks, and bytes of blobs.
        package var size: UInt64 = 0
        /// Bytes of chunks as stored.
        package var compressedSize: UInt64 = 0
        package var duplicates: UInt64 = 0

        package init() {}

        static func += (left: inout Statistics, right: Statistics) {
            left.count &+= right.count
            left.size &+= right.size
            left.compressedSize &+= right.compressedSize
            left.duplicates &+= right.duplicates
        }
    }

    /// Largest image whose index is opened, unless the limit is changed: 64 TiB.
    package static let defaultImageLimit: UInt64 = 64 << 40

    package private(set) var phase = Phase.active
    package private(set) var statistics = Statistics()
    private let imageLimit: UInt64
    private var writers: [Int: IndexWriterRules] = [:]
    private var lastWriter = 0
    private var fileCount = 0
    /// Archives whose close failed: the backup cannot be finished any more.
    private var failedArchives: [ArchiveName] = []

    package init(imageLimit: UInt64 = BackupSessionRules.defaultImageLimit) {
        self.imageLimit = imageLimit
    }

    /// - Throws: ``BackupFailure`` of kind `conflict` unless the session is active.
    package func requireActive() throws(BackupFailure) {
        switch phase {
        case .active: return
        case .finishing: throw BackupFailure(.conflict, "the backup is already being finished")
        case .finished: throw BackupFailure(.conflict, "backup already marked as finished.")
        case .over: throw BackupFailure(.cancelled, "the session is over")
        }
    }

    // MARK: Indexes

    /// Whether an index may be opened now; reported by ``register(_:name:size:isIncremental:)`` once its file exists.
    package func checkOpening(_ kind: WriterKind, name: String, size: UInt64?) throws(BackupFailure) -> ArchiveName {
        try requireActive()
        guard let archive = ArchiveName(name), archive.kind == kind.archiveKind else {
            throw BackupFailure(.invalidInput, "wrong archive extension: '\(name)'")
        }
        guard lastWriter < SessionLimits.writers else {
            throw BackupFailure(
                .invalidInput, "archive '\(name)' is one too many: a session opens at most \(SessionLimits.writers)")
        }
        if let size, size > imageLimit {
            throw BackupFailure(.invalidInput, "archive '\(name)' is too large (\(size) > \(imageLimit) bytes)")
        }
        return archive
    }

    /// An index was opened. Gives the writer's id.
    ///
    /// - Parameters:
    ///   - size: Of the image, where the kind is fixed.
    ///   - isIncremental: Whether the entries of the base's index were copied.
    package mutating func register(
        _ kind: WriterKind, name: ArchiveName, size: UInt64 = 0, isIncremental: Bool = false
    ) -> Int {
        lastWriter += 1
        writers[lastWriter] = IndexWriterRules(kind: kind, name: name, size: size, isIncremental: isIncremental)
        return lastWriter
    }

    private func writer(_ kind: WriterKind, _ id: Int) throws(BackupFailure) -> IndexWriterRules {
        guard let writer = writers[id], writer.kind == kind else {
            throw BackupFailure(.invalidInput, "\(kind.rawValue) writer '\(id)' not registered")
        }
        return writer
    }

    /// Whether the writer is open.
    package func hasWriter(_ id: Int) -> Bool { writers[id] != nil }

    /// A chunk of good content is about to be stored for a writer; ``chunkStored(_:writer:size:storedSize:isDuplicate:)``
    /// or ``chunkFailed(writer:size:)`` follows.
    package mutating func beginChunk(_ kind: WriterKind, writer id: Int, size: Int) throws(BackupFailure) {
        try requireActive()
        var writer = try writer(kind, id)
        try writer.beginChunk(size: size)
        writers[id] = writer
    }

    package mutating func chunkFailed(writer id: Int, size: Int) {
        writers[id]?.chunkFailed(size: size)
    }

    /// The chunk is in the store.
    ///
    /// - Throws: ``BackupFailure`` where the writer was closed meanwhile.
    package mutating func chunkStored(
        _ kind: WriterKind, writer id: Int, size: Int, storedSize: Int, isDuplicate: Bool
    ) throws(BackupFailure) {
        try requireActive()
        var writer = try writer(kind, id)
        writer.chunkStored(size: size, storedSize: storedSize, isDuplicate: isDuplicate)
        writers[id] = writer
    }

    /// Takes one entry of an append.
    ///
    /// - Parameter length: Of the chunk, nil where it is not known in this session.
    /// - Returns: The archive, and the length.
    package mutating func append(
        _ kind: WriterKind, writer id: Int, digest: ChunkDigest, offset: UInt64, length: Int?
    ) throws(BackupFailure) -> Int {
        try requireActive()
        guard let length else { throw BackupFailure(.invalidInput, "no such chunk \(digest)") }
        var writer = try writer(kind, id)
        try writer.append(offset: offset, length: length)
        writers[id] = writer
        return length
    }

    /// A close begins: the writer takes nothing more, whatever comes of it. The caller then closes the file and
    /// reports ``closed(_:)`` or ``writerFailed(_:)``.
    ///
    /// - Throws: ``BackupFailure`` where the writer is unknown, or where counts differ; the writer is gone in the latter
    ///   case, and the caller discards its file.
    package mutating func beginClose(_ kind: WriterKind, _ close: IndexClose) throws(BackupFailure) -> ClosingIndex {
        try requireActive()
        let writer = try writer(kind, close.writer)
        guard let checksum = Hex.decode(close.checksum, allowUppercase: true), checksum.count == ChunkDigest.byteCount
        else {
            throw BackupFailure(
                .invalidInput, "\(kind.rawValue) writer '\(writer.name)' close failed - checksum is no SHA-256")
        }
        writers[close.writer] = nil
        do {
            try writer.checkClose(chunkCount: close.chunkCount, size: close.size)
        } catch {
            failedArchives.append(writer.name)
            throw error
        }
        return ClosingIndex(id: close.writer, name: writer.name, checksum: checksum, statistics: writer.statistics)
    }

    /// The index has its final name.
    package mutating func closed(_ index: ClosingIndex) {
        statistics += index.statistics
        fileCount += 1
    }

    /// Writing or closing an index failed outside of these rules; its writer is gone.
    package mutating func writerFailed(_ id: Int, name: ArchiveName) {
        writers[id] = nil
        failedArchives.append(name)
    }

    // MARK: Blobs

    package func checkBlob(name: String) throws(BackupFailure) -> ArchiveName {
        try requireActive()
        guard let file = ArchiveName(name), file.kind == .blob else {
            throw BackupFailure(.invalidInput, "wrong blob file extension: '\(name)'")
        }
        return file
    }

    package mutating func blobStored(byteCount: Int) {
        statistics.size &+= UInt64(byteCount)
        fileCount += 1
    }

    // MARK: End

    /// `finish` begins: nothing else is taken until ``finishRefused()`` or ``finished()`` says what came of it.
    package mutating func beginFinish() throws(BackupFailure) -> Statistics {
        try requireActive()
        if let name = failedArchives.first {
            throw BackupFailure(
                .conflict, "archive '\(name)' could not be closed - unable to finish backup",
                hints: ["Open a new session and upload the archive again."])
        }
        if let open = writers.min(by: { $0.key < $1.key }) {
            throw BackupFailure(
                .conflict, "found open index writer '\(open.key)' ('\(open.value.name)') - unable to finish backup")
        }
        guard fileCount > 0 else {
            throw BackupFailure(.invalidInput, "backup does not contain valid files (file count == 0)")
        }
        phase = .finishing
        return statistics
    }

    /// What was checked for `finish` was not good; the session goes on.
    package mutating func finishRefused() {
        if phase == .finishing { phase = .active }
    }

    package mutating func finished() {
        if phase == .finishing { phase = .finished }
    }

    /// The connection is over.
    ///
    /// - Returns: Whether the backup had been finished. If not, everything is to be thrown away.
    package mutating func connectionEnded() -> Bool {
        if phase == .finished { return true }
        phase = .over
        writers = [:]
        return false
    }
}

/// An index between the begin and the end of its close.
package struct ClosingIndex: Sendable, Equatable {
    package let id: Int
    package let name: ArchiveName
    package let checksum: [UInt8]
    let statistics: BackupSessionRules.Statistics
}
