import BackupFormats
import BlobCoding
import Crypto
import Platform

/// Some chunk files in memory that is used again and again, on their way from a reader to a checker. One thread has it at
/// a time; the lock under which it is handed over orders their accesses.
final class ChunkParcel: @unchecked Sendable {
    /// Room for a parcel of small chunks, or for the largest one.
    private static let inputByteCount = BlobLimits.encodedChunk.upperBound + (2 << 20)

    private enum Content {
        case here(Range<Int>)
        /// It is larger than its index lets one expect.
        case apart([UInt8])
        case missing
        case unreadable(String)
        /// The system has no more files or memory.
        case failed(BackupFailure)
    }

    private let input = PageMemory(byteCount: ChunkParcel.inputByteCount)
    private let output = PageMemory(byteCount: BlobLimits.maxChunkContent)
    private let decoder = BlobDecoder()
    private var chunks: [Chunk] = []

    private struct Chunk {
        let entry: IndexEntry
        let content: Content
        /// The inode of the file; nil where none could be opened.
        let file: UInt64?
    }

    /// Reads the files of these chunks.
    ///
    /// - Returns: Bytes read.
    func fill(_ entries: ArraySlice<IndexEntry>, from store: ChunkStore) -> Int {
        chunks.removeAll(keepingCapacity: true)
        var end = 0
        for entry in entries {
            chunks.append(read(entry, store.path(of: entry.digest), at: &end))
        }
        return end
    }

    private func read(_ entry: IndexEntry, _ path: String, at end: inout Int) -> Chunk {
        var inode: UInt64?
        let content: Content
        do throws(SystemError) {
            inode = try FileSystem.status(path, followsLinks: false)?.inode
            content = try read(path, at: &end)
        } catch {
            if error.isMissing {
                content = .missing
            } else if error.kind == .unavailable || error.isDenied {
                content = .failed(error.failure("Chunk \(entry.digest) cannot be read"))
            } else {
                content = .unreadable("\(error)")
            }
        }
        return Chunk(entry: entry, content: content, file: inode)
    }

    private func read(_ path: String, at end: inout Int) throws(SystemError) -> Content {
        let file = try OpenFile(path, followsLinks: false)
        let status = try file.status()
        guard status.kind == .file else { return .unreadable("it is not a file") }
        guard BlobLimits.encodedChunk.contains(status.byteCount) else {
            return .unreadable("it has \(status.byteCount) bytes")
        }
        guard end + status.byteCount <= Self.inputByteCount else {
            return .apart(try file.read(at: 0, count: status.byteCount))
        }
        let room = UnsafeMutableRawBufferPointer(start: input.base + end, count: status.byteCount)
        let count = try file.read(into: room, at: 0)
        defer { end += count }
        return .here(end..<end + count)
    }

    /// Checks what ``fill(_:from:)`` has read.
    func check(isEncrypted: Bool, _ tell: (IndexEntry, ChunkFinding) throws -> Void) throws {
        for chunk in chunks {
            switch chunk.content {
            case .here(let range):
                let blob = UnsafeRawBufferPointer(start: input.base + range.lowerBound, count: range.count)
                try tell(chunk.entry, finding(blob, chunk, isEncrypted))
            case .apart(let bytes):
                try tell(chunk.entry, bytes.withUnsafeBytes { finding($0, chunk, isEncrypted) })
            case .missing: try tell(chunk.entry, .damaged("there is no such chunk in the store", file: nil))
            case .unreadable(let reason): try tell(chunk.entry, .damaged(reason, file: chunk.file))
            case .failed(let failure): throw failure
            }
        }
    }

    private func finding(_ blob: UnsafeRawBufferPointer, _ chunk: Chunk, _ isEncrypted: Bool) -> ChunkFinding {
        do {
            return try check(blob, chunk, isEncrypted) ?? .good(blob.count)
        } catch {
            return .damaged("\(error)", file: chunk.file)
        }
    }

    /// Nil where nothing is wrong.
    private func check(
        _ blob: UnsafeRawBufferPointer, _ chunk: Chunk, _ isEncrypted: Bool
    ) throws(FormatError) -> ChunkFinding? {
        let entry = chunk.entry
        let header = try BlobChecksum.verify(blob)
        if header.encoding.isEncrypted {
            // Without the key there is no more to see.
            return isEncrypted ? nil : .damaged("it is encrypted, and its index says otherwise", file: chunk.file)
        }
        let content = try decode(blob, header)
        var hasher = SHA256()
        hasher.update(bufferPointer: content)
        guard ChunkDigest(hasher.finalize()) == entry.digest else {
            return .damaged("its content has another digest", file: chunk.file)
        }
        // The content fits the digest, so it is the index that is wrong: others may rely on the chunk. (Decision 6.)
        if content.count != entry.length {
            return .damaged("it has \(content.count) bytes, and its index says \(entry.length)", file: nil)
        }
        return isEncrypted ? .damaged("it is plain, and its index says otherwise", file: nil) : nil
    }

    /// The content, where it lies already or in the memory for output.
    private func decode(
        _ blob: UnsafeRawBufferPointer, _ header: DataBlobHeader
    ) throws(FormatError) -> UnsafeRawBufferPointer {
        let payload = UnsafeRawBufferPointer(rebasing: blob[header.encoding.headerByteCount...])
        guard header.encoding.isCompressed else { return payload }
        let room = UnsafeMutableRawBufferPointer(start: output.base, count: output.byteCount)
        let count = try decoder.decompress(payload, into: room, offset: header.encoding.headerByteCount)
        return UnsafeRawBufferPointer(rebasing: room[..<count])
    }
}
