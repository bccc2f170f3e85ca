import BackupFormats
import BackupProtocol
import BlobCoding
import Datastore
import Platform
import Synchronization

/// The content of an archive: its chunks, decoded and joined. Holds the snapshot until it goes.
final class DecodedIndexSource: ByteSource {
    /// Entries of the index that are read at once.
    private static let entriesPerPage = 256

    private struct State {
        /// The next entry of the index.
        var nextEntry = 0
        /// End of the last chunk in the archive; dynamic indexes give ends only.
        var position: UInt64 = 0
        /// Chunks to come, last first.
        var page: [(digest: ChunkDigest, length: Int)] = []
        /// Decoded bytes that were not handed over yet.
        var rest: ArraySlice<UInt8> = []
    }

    private let index: StoredIndex
    private let chunks: ChunkStore
    private let reader: SnapshotReader
    private let workers: WorkerPool
    private let state = Mutex(State())

    init(_ index: StoredIndex, chunks: ChunkStore, of reader: SnapshotReader, workers: WorkerPool) {
        self.index = index
        self.chunks = chunks
        self.reader = reader
        self.workers = workers
    }

    deinit { reader.close() }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if let piece = take(maxBytes) { return piece }
        let hasMore = try await workers.run { try self.decodeNext() }
        return hasMore ? take(maxBytes) : nil
    }

    private func take(_ count: Int) -> [UInt8]? {
        state.withLock { state in
            guard !state.rest.isEmpty else { return nil }
            let piece = Array(state.rest.prefix(count))
            state.rest.removeFirst(piece.count)
            return piece
        }
    }

    /// - Returns: false at the end of the archive.
    private func decodeNext() throws -> Bool {
        // One reader at a time asks, so nothing changes between the locked parts.
        if state.withLock({ $0.page.isEmpty }) { try readPage() }
        guard let (digest, length) = state.withLock({ $0.page.popLast() }) else { return false }
        let content = try BlobDecoder().decode(try chunks.read(digest), limit: BlobLimits.maxChunkContent)
        guard content.count == length else {
            throw BackupFailure(.corruptData, "chunk \(digest) has \(content.count) bytes instead of \(length)")
        }
        state.withLock { $0.rest = content[...] }
        return true
    }

    private func readPage() throws {
        let (first, start) = state.withLock { ($0.nextEntry, $0.position) }
        let count = min(Self.entriesPerPage, index.count - first)
        guard count > 0 else { return }
        var position = start
        var page: [(digest: ChunkDigest, length: Int)] = []
        if let chunkBytes = index.fixedChunkByteCount {
            let bytes = try index.file.read(
                at: FixedIndexHeader.byteCount + first * FixedIndexHeader.entryByteCount,
                count: count * FixedIndexHeader.entryByteCount)
            var reader = ByteReader(bytes.span)
            while reader.remaining > 0 {
                let length = min(UInt64(chunkBytes), index.logicalSize - position)
                page.append((try ChunkDigest(from: &reader), Int(length)))
                position += length
            }
        } else {
            let bytes = try index.file.read(
                at: DynamicIndexHeader.offset(ofEntry: first), count: count * DynamicIndexHeader.entryByteCount)
            var reader = ByteReader(bytes.span)
            while reader.remaining > 0 {
                let entry = try DynamicIndexEntry(from: &reader)
                guard entry.end > position, entry.end - position <= BlobLimits.maxChunkContent else {
                    throw BackupFailure(.corruptData, "the entries of \(index.name) are out of order")
                }
                page.append((entry.digest, Int(entry.end - position)))
                position = entry.end
            }
        }
        state.withLock { [page] state in
            state.page = page.reversed()
            state.nextEntry = first + page.count
            state.position = position
        }
    }
}
