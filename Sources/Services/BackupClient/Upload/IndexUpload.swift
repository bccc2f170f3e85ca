package import BackupFormats
import BackupProtocol
import Chunking
import Platform

/// What an archive has become on the server: what its line in the manifest says.
package struct IndexSummary: Sendable, Equatable {
    package let archive: ArchiveName
    package let size: UInt64
    package let chunkCount: Int
    package let checksum: ChunkDigest
}

/// Sends one archive as an index and its chunks.
package struct IndexUpload: Sendable {
    /// Chunks whose place in the index is not yet told to the server.
    static let entryLimit = 4096
    /// Entries of one append.
    static let batchLimit = 64
    /// Entries of one append where all are known beforehand; its body stays below 64 KiB, as older servers want it.
    static let longBatchLimit = 512

    private struct Entry: Sendable {
        let offset: UInt64
        let byteCount: Int
        /// Ends by itself when its chunk is acknowledged or has failed; `collect` waits for each.
        let digest: Task<ChunkDigest, any Error>
    }

    let engine: UploadEngine
    let writer: ChunkWriter

    /// Opens the index on the server.
    ///
    /// - Parameters:
    ///   - size: The image's, for a fixed index.
    ///   - reusing: The checksum of the previous snapshot's index of that name, whose entries the server copies.
    static func begin(
        _ archive: ArchiveName, kind: SessionCalls.IndexKind, size: UInt64? = nil, reusing: ChunkDigest? = nil,
        on engine: UploadEngine
    ) async throws -> IndexUpload {
        let id =
            engine.isDryRun
            ? 1 : try await engine.calls.makeIndex(archive, kind: kind, size: size, reusing: reusing)
        return IndexUpload(engine: engine, writer: ChunkWriter(id: id, kind: kind, archive: archive))
    }

    /// Sends what `produce` writes, cut by `cutter`. `produce` runs on a thread of its own and may block.
    func sendStream(
        cutBy cutter: any Cutter, produce: @escaping @Sendable (ChunkSink) throws -> Void
    ) async throws -> IndexSummary {
        var index = IndexBuilder(upload: self)
        try await collect(
            feed: { entries in try await self.runProducer(cutter, entries, produce) },
            each: { offset, byteCount, digest in try await index.add(digest, at: offset, byteCount: byteCount) })
        return try await index.close()
    }

    /// Sends an image in pieces of 4 MiB, several of them read at once.
    func sendImage(_ image: ImageFile) async throws -> IndexSummary {
        var index = IndexBuilder(upload: self)
        try await collect(
            feed: { entries in
                for offset in stride(from: 0, to: image.byteCount, by: SessionLimits.fixedChunkBytes) {
                    let byteCount = min(SessionLimits.fixedChunkBytes, image.byteCount - offset)
                    let reserved = 2 * byteCount
                    try await self.engine.memory.acquire(reserved)
                    let content = ChunkContent.image(image, offset: offset, byteCount: byteCount)
                    try await entries.push(
                        self.begin(content, at: UInt64(offset), byteCount: byteCount, reserved: reserved))
                }
            },
            each: { offset, byteCount, digest in try await index.add(digest, at: offset, byteCount: byteCount) })
        return try await index.close()
    }

    /// Sends the chunks of a stream whose length nobody knows, in pieces of 4 MiB, through this index without
    /// appending them, and makes a fixed index of them in the end, when the length is known.
    ///
    /// The stock client restores the result like any image. (A server wants the size when a fixed index is begun, but
    /// all indexes of a session share its known chunks.)
    func sendImageOfUnknownSize(
        as archive: ArchiveName, produce: @escaping @Sendable (ChunkSink) throws -> Void
    ) async throws -> IndexSummary {
        var digests: [(digest: ChunkDigest, offset: UInt64)] = []
        var size: UInt64 = 0
        try await collect(
            feed: { entries in
                try await self.runProducer(FixedCutter(size: SessionLimits.fixedChunkBytes), entries, produce)
            },
            each: { offset, byteCount, digest in
                digests.append((digest, offset))
                size = offset + UInt64(byteCount)
            })
        guard size > 0 else {
            throw BackupFailure(.invalidInput, "There was nothing to read for \(archive)")
        }
        let target = try await IndexUpload.begin(archive, kind: .fixed, size: size, on: engine)
        var index = IndexBuilder(upload: target, batchLimit: Self.longBatchLimit)
        for (place, entry) in digests.enumerated() {
            let end = place + 1 < digests.count ? digests[place + 1].offset : size
            try await index.add(entry.digest, at: entry.offset, byteCount: Int(end - entry.offset))
        }
        return try await index.close()
    }

    // MARK: - The flow

    /// Starts the way of one chunk, whose memory has been reserved.
    private func begin(_ content: ChunkContent, at offset: UInt64, byteCount: Int, reserved: Int) -> Entry {
        let digest = Task { [engine, writer] in
            do {
                return try await engine.process(content, reserved: reserved, for: writer)
            } catch {
                engine.abort(error)
                throw error
            }
        }
        return Entry(offset: offset, byteCount: byteCount, digest: digest)
    }

    private func runProducer(
        _ cutter: any Cutter, _ entries: Channel<Entry>, _ produce: @escaping @Sendable (ChunkSink) throws -> Void
    ) async throws {
        let thread = WorkerPool(name: "produce \(writer.archive)", width: 1)
        defer { thread.close() }
        try await thread.run {
            let sink = ChunkSink(cutter: cutter, buffers: engine.buffers) { buffer, offset in
                let byteCount = buffer.count
                let reserved = buffer.touchedBytes + byteCount
                try engine.memory.acquireBlocking(reserved)
                try entries.pushBlocking(begin(.bytes(buffer), at: offset, byteCount: byteCount, reserved: reserved))
            }
            try produce(sink)
            try sink.finish()
        }
    }

    /// Runs `feed`, and calls `each` for every chunk, in order, once the server has it.
    private func collect(
        feed: @escaping @Sendable (Channel<Entry>) async throws -> Void,
        each: (UInt64, Int, ChunkDigest) async throws -> Void
    ) async throws {
        let entries = Channel<Entry>(limit: Self.entryLimit)
        // Both ways out of this function wait for it.
        let fed = Task { [engine] in
            do {
                try await feed(entries)
                entries.finish()
            } catch {
                engine.abort(error)
                entries.fail(error)
                throw error
            }
        }
        do {
            try await withTaskCancellationHandler {
                while let entry = try await entries.next() {
                    let digest = try await entry.digest.value
                    if !engine.isDryRun { try await engine.known.waitUntilUploaded(digest) }
                    try await each(entry.offset, entry.byteCount, digest)
                }
                try await fed.value
            } onCancel: {
                let error = BackupFailure(.cancelled, "The backup was stopped")
                engine.abort(error)
                entries.fail(error)
            }
        } catch {
            engine.abort(error)
            entries.fail(error)
            // The failure that came first says most; the producer ends before its archive does.
            _ = try? await fed.value
            throw engine.firstFailure ?? error
        }
    }
}

/// Appends chunks to an index in batches, keeps its checksum, and closes it.
struct IndexBuilder {
    private let upload: IndexUpload
    private let batchLimit: Int
    private var batch: [(digest: ChunkDigest, offset: UInt64)] = []
    private var dynamicChecksum = DynamicIndexChecksum()
    private var fixedChecksum = FixedIndexChecksum()
    private var count = 0
    private var size: UInt64 = 0

    init(upload: IndexUpload, batchLimit: Int = IndexUpload.batchLimit) {
        self.upload = upload
        self.batchLimit = batchLimit
    }

    mutating func add(_ digest: ChunkDigest, at offset: UInt64, byteCount: Int) async throws {
        size = offset + UInt64(byteCount)
        switch upload.writer.kind {
        case .dynamic: try dynamicChecksum.add(DynamicIndexEntry(end: size, digest: digest))
        case .fixed: fixedChecksum.add(digest)
        }
        count += 1
        batch.append((digest, offset))
        if batch.count >= batchLimit { try await flush() }
    }

    private mutating func flush() async throws {
        guard !batch.isEmpty else { return }
        defer { batch.removeAll(keepingCapacity: true) }
        if upload.engine.isDryRun { return }
        let writer = upload.writer
        try await upload.engine.calls.append(writer: writer.id, kind: writer.kind, batch, to: writer.archive)
    }

    mutating func close() async throws -> IndexSummary {
        try await flush()
        let writer = upload.writer
        let checksum = writer.kind == .dynamic ? dynamicChecksum.value : fixedChecksum.value
        guard count > 0 else {
            throw BackupFailure(.invalidInput, "The archive \(writer.archive) has no bytes")
        }
        if !upload.engine.isDryRun {
            try await upload.engine.calls.closeIndex(
                writer: writer.id, kind: writer.kind, count: count, size: size, checksum: checksum, of: writer.archive)
        }
        return IndexSummary(archive: writer.archive, size: size, chunkCount: count, checksum: checksum)
    }
}
