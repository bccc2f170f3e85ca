import BackupFormats
import BackupProtocol
import BlobCoding
import Datastore
import Platform
import Tasks

/// Uploads one archive: the chunks that the remote does not know as they are stored, and the index entry by entry.
struct IndexPush: Sendable {
    /// Entries that are uploaded, then appended together; the body stays below the 64 KiB that old servers take.
    private static let batchCount = 512

    let context: PushContext
    let link: SessionLink
    let index: StoredIndex
    /// Chunks that need no upload; those that were uploaded are added.
    let known: InUseSet
    /// `disk.img.fidx of vm/100/2024-06-01T00:00:00Z`
    let place: String

    private var kind: WriterKind { index.name.kind == .fixedIndex ? .fixed : .dynamic }

    func run(expecting file: Manifest.File) async throws {
        let before = context.statistics.figures
        let checksum = try await check(file)
        let writer = try await open()
        var first = 0
        while first < index.count {
            try context.task.checkAborted()
            let range = first..<min(index.count, first + Self.batchCount)
            let entries = try await context.workers.run { try index.entries(range) }
            try await uploadMissing(of: entries, writer)
            let append = ChunkAppend(writer: writer, digests: entries.map(\.digest), offsets: entries.map(\.offset))
            try await link.call(BackupRequest(.append(kind, append)), trying: "Chunks cannot be appended to \(place)")
            first = range.upperBound
        }
        let close = IndexClose(
            writer: writer, chunkCount: UInt64(index.count), size: index.logicalSize, checksum: "\(checksum)")
        try await link.call(BackupRequest(.close(kind, close)), trying: "\(place) cannot be closed")
        let after = context.statistics.figures
        context.task.log(
            "uploaded \(ByteAmount.text(after.bytes - before.bytes)) in \(after.chunks - before.chunks) chunks,"
                + " \(after.presentChunks - before.presentChunks) were there")
    }

    /// Pushes nothing that is known to be bad.
    private func check(_ file: Manifest.File) async throws -> ChunkDigest {
        let checksum = try await context.workers.run { try index.computeChecksum() }
        guard checksum == file.checksum, index.logicalSize == file.size else {
            throw BackupFailure(.corruptData, "\(place) is not what its manifest lists; verify the snapshot")
        }
        if let size = index.fixedChunkByteCount, size != SessionLimits.fixedChunkBytes {
            throw BackupFailure(.unsupported, "\(place) has chunks of \(size) bytes, which no server takes")
        }
        return checksum
    }

    private func open() async throws -> Int {
        let call: BackupCall =
            kind == .fixed
            ? .openFixedIndex(name: index.name.name, size: index.logicalSize, reuse: nil)
            : .openDynamicIndex(name: index.name.name)
        let answer = try await link.call(BackupRequest(call), trying: "\(place) cannot be begun")
        guard let writer = answer.intValue, (1...Int64(SessionLimits.writers)).contains(writer) else {
            throw BackupFailure(.corruptData, "The remote gave no usable writer id for \(place)")
        }
        return Int(writer)
    }

    private func uploadMissing(of entries: [IndexEntry], _ writer: Int) async throws {
        var wanted: [IndexEntry] = []
        for entry in entries {
            if known.knownLength(of: entry.digest) == entry.length {
                context.statistics.add { $0.presentChunks += 1 }
            } else {
                known.pin(entry.digest, length: entry.length, origin: .previous)
                wanted.append(entry)
            }
        }
        let missing = wanted
        try await side(by: context.policy.width, count: missing.count) { try await upload(missing[$0], writer) }
    }

    private func upload(_ entry: IndexEntry, _ writer: Int) async throws {
        try context.task.checkAborted()
        let what = "Chunk \(entry.digest) of \(place) cannot be pushed"
        let chunks = context.store.chunks
        let blob: [UInt8]
        do {
            blob = try await context.workers.run { try chunks.read(entry.digest) }
        } catch let failure as BackupFailure {
            throw BackupFailure(failure.kind, what, cause: failure)
        }
        let upload = ChunkUpload(
            writer: writer, digest: entry.digest, size: entry.length, encodedSize: blob.count)
        try await link.call(BackupRequest(.uploadChunk(kind, upload), data: blob), trying: what)
        context.statistics.add {
            $0.chunks += 1
            $0.bytes += blob.count
        }
    }
}
