import BackupFormats
import Crypto
import Platform
import Synchronization

/// Writes a `.fidx` file: chunks of 4 MiB in any order; places never written stay zero.
final class FixedIndexWriter: IndexWriter {
    /// The largest image, in bytes. (Design decision 7.)
    static let maxSize: UInt64 = 64 << 40
    private static let entriesPerPiece = 4096

    private struct State {
        /// Nil once closed or discarded.
        var file: IndexFile?
        var appended = 0
    }

    let name: ArchiveName
    private let options: StoreOptions
    private let header: FixedIndexHeader
    /// Whether the entries of the base were copied in first.
    private let isReusing: Bool
    private let state: Mutex<State>

    /// - Parameter base: The index whose entries are copied first; its number of entries must be that of the new one.
    init(
        _ name: ArchiveName, size: UInt64, base: StoredIndex?, folder: String, owner: FileOwner, options: StoreOptions
    ) throws {
        guard size > 0, size <= Self.maxSize else {
            throw BackupFailure(
                .invalidInput, "Index \(name) cannot be created: an image of \(size) bytes is not possible")
        }
        self.name = name
        self.options = options
        isReusing = base != nil
        let file: IndexFile
        (header, file) = try storing("Index \(name) cannot be created") {
            let header = try FixedIndexHeader(
                uuid: SIMD16(try SystemRandom.uuid()), creationTime: options.time.seconds, size: size)
            if let base, base.count != header.entryCount || base.fixedChunkByteCount != header.chunkByteCount {
                throw BackupFailure(
                    .invalidInput,
                    "Index \(name) cannot reuse the previous one: it has \(base.count) chunks, the new one \(header.entryCount)"
                )
            }
            let file = try IndexFile(name, folder: folder, owner: owner, options: options)
            do {
                try file.file.truncate(to: header.fileByteCount)
                try base?.forEachPiece { first, piece in
                    try file.file.write(piece, at: FixedIndexHeader.offset(ofEntry: first))
                }
            } catch {
                file.remove()
                throw error
            }
            return (header, file)
        }
        state = Mutex(State(file: file))
    }

    deinit { discard() }

    var appendedCount: Int { state.withLock { $0.appended } }

    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws {
        let chunk = UInt64(header.chunkByteCount)
        func refuse(_ reason: String) -> BackupFailure {
            BackupFailure(.invalidInput, "Chunk \(digest) cannot be put into \(name) at offset \(offset): \(reason)")
        }
        let (end, overflows) = offset.addingReportingOverflow(UInt64(max(0, length)))
        guard !overflows, end <= header.size else {
            throw refuse("it would end behind the image of \(header.size) bytes")
        }
        guard offset.isMultiple(of: chunk) else { throw refuse("the offset is not a multiple of \(chunk)") }
        guard length > 0, length <= chunk, UInt64(length) == chunk || end == header.size else {
            throw refuse("a chunk of \(length) bytes is not possible there")
        }
        try state.withLock { state in
            guard let file = state.file else { throw Self.closed(name) }
            try storing("Index \(name) cannot be written") {
                try options.beforeStep(.indexAppend)
                try file.file.write(digest.bytes, at: FixedIndexHeader.offset(ofEntry: Int(offset / chunk)))
            }
            state.appended += 1
        }
    }

    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary {
        try state.withLock { state in
            guard let file = state.file else { throw Self.closed(name) }
            state.file = nil
            do {
                if chunkCount != state.appended {
                    throw Self.mismatch(name, "the number of chunks", chunkCount, state.appended)
                }
                if !isReusing {
                    if chunkCount != header.entryCount {
                        throw Self.mismatch(name, "the number of chunks", chunkCount, header.entryCount)
                    }
                    if size != header.size { throw Self.mismatch(name, "the size", size, header.size) }
                }
                return try storing("Index \(name) cannot be closed") {
                    let own = try computeChecksum(file.file)
                    if checksum != own.bytes { throw Self.mismatch(name, "the checksum", Hex.encode(checksum), own) }
                    try options.beforeStep(.indexClose)
                    var header = header
                    header.checksum = own
                    try file.file.write(header.encoded, at: 0)
                    try file.finish()
                    return IndexSummary(name: name, size: header.size, checksum: own, chunkCount: header.entryCount)
                }
            } catch {
                file.remove()
                throw error
            }
        }
    }

    private func computeChecksum(_ file: OpenFile) throws -> ChunkDigest {
        var hasher = SHA256()
        let piece = Self.entriesPerPiece * FixedIndexHeader.entryByteCount
        for offset in stride(from: FixedIndexHeader.byteCount, to: header.fileByteCount, by: piece) {
            hasher.update(data: try file.read(at: offset, count: min(piece, header.fileByteCount - offset)))
        }
        return ChunkDigest(hasher.finalize())
    }

    func discard() {
        state.withLock { state in
            state.file?.remove()
            state.file = nil
        }
    }
}
