import BackupFormats
import BlobCoding
import Datastore
import Platform
import Pxar
import Synchronization

/// The bytes of an archive, read from anywhere. Holds the snapshot until it goes, and the last chunks that were decoded.
final class ArchiveContent: PxarSource {
    /// Chunks of up to 16 MiB that are kept: an archive is read in order, its tables are behind what they describe.
    private static let keptChunks = 3

    private struct Chunk: Sendable {
        var range: Range<UInt64>
        var bytes: [UInt8]
    }

    let size: UInt64
    private let index: StoredIndex
    private let chunks: ChunkStore
    private let hold: SnapshotReader
    private let workers: WorkerPool
    /// The one used last in front.
    private let kept = Mutex<[Chunk]>([])

    /// - Throws: ``BackupFailure`` where the file is no dynamic index.
    init(_ name: ArchiveName, chunks: ChunkStore, of hold: SnapshotReader, workers: WorkerPool) throws {
        guard name.kind == .dynamicIndex else {
            throw BackupFailure(.invalidInput, "\(name) is not an archive of files")
        }
        index = try hold.openIndex(name)
        size = index.logicalSize
        self.chunks = chunks
        self.hold = hold
        self.workers = workers
    }

    /// - Throws: ``FormatError`` where the bytes do not all lie in the archive; ``BackupFailure`` where a chunk cannot
    ///   be read.
    func read(at offset: UInt64, count: Int) async throws -> [UInt8] {
        guard count >= 0, offset <= size, UInt64(count) <= size - offset else {
            throw FormatError.truncated(
                offset: Int(clamping: offset), needed: count, available: Int(clamping: size - min(offset, size)))
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let position = offset + UInt64(bytes.count)
            let wanted = count - bytes.count
            if let piece = kept(at: position, upTo: wanted) {
                bytes += piece
                continue
            }
            let chunk = try await workers.run { try self.decode(at: position) }
            kept.withLock { kept in
                kept.insert(chunk, at: 0)
                if kept.count > Self.keptChunks { kept.removeLast() }
            }
        }
        return bytes
    }

    private func kept(at position: UInt64, upTo count: Int) -> ArraySlice<UInt8>? {
        kept.withLock { kept in
            guard let place = kept.firstIndex(where: { $0.range.contains(position) }) else { return nil }
            if place > 0 { kept.insert(kept.remove(at: place), at: 0) }
            let start = Int(position - kept[0].range.lowerBound)
            return kept[0].bytes[start..<min(start + count, kept[0].bytes.count)]
        }
    }

    /// Blocks.
    private func decode(at position: UInt64) throws -> Chunk {
        let (digest, range) = try find(position)
        let bytes = try BlobDecoder().decode(try chunks.read(digest), limit: BlobLimits.maxChunkContent)
        guard UInt64(bytes.count) == range.upperBound - range.lowerBound else {
            throw BackupFailure(
                .corruptData, "chunk \(digest) of \(index.name) has \(bytes.count) bytes and not those of the index")
        }
        return Chunk(range: range, bytes: bytes)
    }

    /// The chunk that a position lies in, by halving the table of the index.
    private func find(_ position: UInt64) throws -> (digest: ChunkDigest, range: Range<UInt64>) {
        var (low, high) = (0, index.count)
        while low < high {
            let middle = low + (high - low) / 2
            if try entry(middle).end <= position { low = middle + 1 } else { high = middle }
        }
        let found = try entry(low)
        let start = low == 0 ? 0 : try entry(low - 1).end
        guard start <= position, position < found.end, found.end - start <= BlobLimits.maxChunkContent else {
            throw BackupFailure(.corruptData, "the entries of \(index.name) are out of order")
        }
        return (found.digest, start..<found.end)
    }

    private func entry(_ number: Int) throws -> DynamicIndexEntry {
        let bytes = try index.file.read(
            at: DynamicIndexHeader.offset(ofEntry: number), count: DynamicIndexHeader.entryByteCount)
        var reader = ByteReader(bytes.span)
        return try DynamicIndexEntry(from: &reader)
    }
}
