import BackupFormats
import BlobCoding
import Datastore
import Platform

/// Brings the chunks of a snapshot's indexes into a datastore: those that it lacks, or has in a bad state.
struct ChunkCopy: Sendable {
    /// Entries of an index that are looked at together.
    private static let pieceCount = 8192
    /// Bytes by which a compressed chunk may be longer than its content.
    private static let slack = 1 << 16

    let store: Datastore
    /// What the new snapshot relies on.
    let inUse: InUseSet
    /// What has arrived, for a next run.
    let arrivals: InUseSet
    /// Chunks whose content is known to be good here; only whether they exist is asked.
    let trusted: InUseSet
    /// Whether the source is this very datastore: then nothing is copied.
    let isSameStore: Bool
    let source: any SnapshotSource
    let coders: BlobCoders
    let workers: WorkerPool
    let width: Int
    let statistics: SyncStatistics
    /// Ends the work when the task is aborted.
    let check: @Sendable () throws -> Void

    /// - Parameter place: For failures: `disk.img.fidx of vm/100/2024-06-01T00:00:00Z`.
    func copy(_ index: StoredIndex, mode: CryptMode, place: String) async throws {
        var first = 0
        while first < index.count {
            try check()
            let range = first..<min(index.count, first + Self.pieceCount)
            let wanted = try await workers.run { try newEntries(index.entries(range), place) }
            try await copy(wanted, mode, place)
            first = range.upperBound
        }
    }

    /// Those that this snapshot has not met yet; they are pinned.
    private func newEntries(_ entries: [IndexEntry], _ place: String) throws -> [IndexEntry] {
        try entries.filter { entry in
            if let length = inUse.knownLength(of: entry.digest) {
                guard length == entry.length else {
                    throw BackupFailure(
                        .corruptData,
                        "Chunk \(entry.digest) of \(place) is of \(entry.length) bytes, elsewhere of \(length)")
                }
                return false
            }
            inUse.pin(entry.digest, length: entry.length, origin: .previous)
            return true
        }
    }

    private func copy(_ entries: [IndexEntry], _ mode: CryptMode, _ place: String) async throws {
        try await side(by: width, count: entries.count) { try await copy(entries[$0], mode, place) }
    }

    private func copy(_ entry: IndexEntry, _ mode: CryptMode, _ place: String) async throws {
        try check()
        let isPresent = try await workers.run { try isThere(entry, mode) }
        if isPresent {
            statistics.add { $0.presentChunks += 1 }
            return
        }
        guard !isSameStore else {
            throw BackupFailure(.corruptData, "Chunk \(entry.digest) of \(place) is missing from the datastore")
        }
        let limit = min(BlobLimits.encodedChunk.upperBound, entry.length + Self.slack)
        let blob = try await source.chunk(entry.digest, limit: limit)
        try await workers.run { () throws -> Void in
            try examine(blob, entry, mode, place)
            _ = try store.chunks.insert(blob, as: entry.digest, length: entry.length, pinning: inUse)
            arrivals.pin(entry.digest, length: entry.length, origin: .copied)
        }
        statistics.add {
            $0.chunks += 1
            $0.bytes += blob.count
        }
    }

    /// Whether the store has the chunk in a good state. One that is damaged, whatever the source says of it, is set
    /// aside.
    private func isThere(_ entry: IndexEntry, _ mode: CryptMode) throws -> Bool {
        if isSameStore || trusted.contains(entry.digest) {
            guard try store.chunks.touch(entry.digest) else { return false }
            return try store.chunks.byteCount(of: entry.digest) != nil
        }
        guard try store.chunks.byteCount(of: entry.digest) != nil else { return false }
        let stored: StoredChunk
        do {
            stored = try StoredChunk(store.chunks.read(entry.digest), entry.digest, coders)
        } catch let failure as BackupFailure where failure.kind == .corruptData {
            _ = try store.chunks.markBad(entry.digest)
            return false
        } catch let failure as BackupFailure where failure.kind == .noSuchObject {
            return false
        }
        // Of another kind or length, what the source sends decides what becomes of it.
        guard stored.fits(entry, mode) else { return false }
        _ = try store.chunks.touch(entry.digest)
        return true
    }

    private func examine(_ blob: [UInt8], _ entry: IndexEntry, _ mode: CryptMode, _ place: String) throws {
        let chunk: StoredChunk
        do { chunk = try StoredChunk(blob, entry.digest, coders) } catch {
            throw BackupFailure(
                .corruptData, "Chunk \(entry.digest) of \(place) is damaged at the source", cause: error)
        }
        guard chunk.fits(entry, mode) else {
            throw BackupFailure(
                .corruptData, "Chunk \(entry.digest) of \(place) is not of the length and kind that the index says")
        }
    }
}

/// What can be known about a chunk without its key: its checksum is right, and the content of a plain one has the digest.
private struct StoredChunk {
    /// Of a plain one.
    let length: Int?

    init(_ blob: [UInt8], _ digest: ChunkDigest, _ coders: BlobCoders) throws {
        do {
            guard try !BlobChecksum.verify(blob).encoding.isEncrypted else {
                length = nil
                return
            }
            let content = try coders.withDecoder { decoder throws(FormatError) in
                try decoder.decode(blob, limit: BlobLimits.maxChunkContent, checksum: .ignore)
            }
            guard ChunkDigest(hashing: content) == digest else {
                throw FormatError.invalid("the content has another digest", offset: 0)
            }
            length = content.count
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "Chunk \(digest) is damaged", cause: error)
        }
    }

    func fits(_ entry: IndexEntry, _ mode: CryptMode) -> Bool {
        guard let length else { return mode.hasEncryptedChunks }
        return !mode.hasEncryptedChunks && length == entry.length
    }
}
