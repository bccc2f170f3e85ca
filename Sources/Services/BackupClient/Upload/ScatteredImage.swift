package import BackupFormats
import BackupProtocol
import Synchronization

/// An image of the previous snapshot: the entries that a new one can begin with.
package struct PreviousImage: Sendable {
    package let archive: ArchiveName
    let index: FixedIndex
    /// The checksum of its entries, as its manifest lists it.
    let checksum: ChunkDigest

    /// Bytes of the image.
    package var size: UInt64 { index.size }
}

/// An image that is sent in chunks of 4 MiB in any order: whole, or as what changed since the previous snapshot.
///
/// Chunks that nobody puts are those of the base, and zeros where there is no base or behind its end. Several chunks are
/// on their way at once; ``UploadEngine/memory`` bounds them. A base of the same size is copied by the server, and only
/// what changed is named to it; with a base that was smaller, all entries are named. Used by one task, but for the
/// chunks on their way.
package final class ScatteredImage: Sendable {
    private struct State: Sendable {
        /// What the index will hold; entry by entry the base's, or that of zeros, at first.
        var digests: [ChunkDigest]
        /// One bit for each place that was put.
        var isPut: [UInt64]
        /// Entries that the server has not yet been told.
        var batch: [(digest: ChunkDigest, offset: UInt64)] = []
        var appendedCount = 0
        var inFlight = 0
        /// Who waits for the last chunk on its way.
        var whenIdle: CheckedContinuation<Void, Never>?
    }

    package let archive: ArchiveName
    package let size: UInt64
    private let upload: IndexUpload
    private let baseSize: UInt64?
    /// Whether the server has copied the entries of the base.
    private let isCopied: Bool
    private let state: Mutex<State>

    static let chunkBytes = UInt64(SessionLimits.fixedChunkBytes)

    /// Opens the index on the server.
    static func begin(
        _ archive: ArchiveName, size: UInt64, base: PreviousImage?, on engine: UploadEngine
    ) async throws -> ScatteredImage {
        guard size > 0 else { throw BackupFailure(.invalidInput, "The image \(archive) has no bytes") }
        if let base, base.size > size {
            throw BackupFailure(
                .invalidInput,
                "\(archive) has \(size) bytes and cannot be built on an image of \(base.size) bytes: send it whole")
        }
        let isCopied = base?.size == size
        let upload = try await IndexUpload.begin(
            archive, kind: .fixed, size: size, reusing: isCopied ? base?.checksum : nil, on: engine)
        return ScatteredImage(archive, size: size, base: base, isCopied: isCopied, upload: upload)
    }

    private init(_ archive: ArchiveName, size: UInt64, base: PreviousImage?, isCopied: Bool, upload: IndexUpload) {
        self.archive = archive
        self.size = size
        self.upload = upload
        self.isCopied = isCopied
        baseSize = base?.size
        let count = Int((size + Self.chunkBytes - 1) / Self.chunkBytes)
        let codec = upload.engine.codec
        var digests = [ChunkDigest](
            repeating: codec.digestOfZeros(SessionLimits.fixedChunkBytes), count: count)
        let last = Int(size - UInt64(count - 1) * Self.chunkBytes)
        digests[count - 1] = codec.digestOfZeros(last)
        if let base {
            // The last chunk of a base that was smaller may be short: whoever has its content puts it.
            let kept = isCopied ? base.index.count : Int(base.size / Self.chunkBytes)
            for place in 0..<kept { digests[place] = base.index.digest(at: place) }
        }
        state = Mutex(State(digests: digests, isPut: [UInt64](repeating: 0, count: (count + 63) / 64)))
    }

    /// Chunks of the image.
    package var chunkCount: Int { Int((size + Self.chunkBytes - 1) / Self.chunkBytes) }

    /// Bytes of a chunk; only the last may be short.
    package func byteCount(of place: Int) -> Int {
        Int(min(Self.chunkBytes, size - UInt64(place) * Self.chunkBytes))
    }

    /// The chunk that the base has only a part of, since the base ends in it and the image does not: it must be put.
    package var placeToComplete: Int? {
        guard let baseSize, !isCopied, !baseSize.isMultiple(of: Self.chunkBytes) else { return nil }
        return Int(baseSize / Self.chunkBytes)
    }

    // MARK: - Chunks

    /// Sends a chunk, of which `pieces` are the content in order. Waits while too much is on its way.
    ///
    /// - Throws: ``BackupFailure``: `invalidInput` where the place was put before, is behind the end, or the pieces have
    ///   another length; why the upload has failed.
    package func put(_ place: Int, _ pieces: [ArraySlice<UInt8>]) async throws {
        let byteCount = try claim(place)
        guard pieces.reduce(0, { $0 + $1.count }) == byteCount else {
            throw BackupFailure(.internalFault, "Chunk \(place) of \(archive) has not \(byteCount) bytes")
        }
        let engine = upload.engine
        try await reserve(2 * byteCount)
        let buffer = engine.buffers.take()
        for piece in pieces { piece.withUnsafeBytes { buffer.append($0) } }
        send(place) { [writer = upload.writer] in
            try await engine.process(.bytes(buffer), reserved: 2 * byteCount, for: writer)
        }
    }

    /// Sends a chunk whose content takes time to make, such as one that needs its base; `make` runs beside others.
    package func put(_ place: Int, making make: @escaping @Sendable () async throws -> [UInt8]) async throws {
        let byteCount = try claim(place)
        let engine = upload.engine
        try await reserve(3 * byteCount)
        let archive = archive
        send(place) { [writer = upload.writer] in
            let content: [UInt8]
            do {
                content = try await make()
                guard content.count == byteCount else {
                    throw BackupFailure(.internalFault, "Chunk \(place) of \(archive) has not \(byteCount) bytes")
                }
            } catch {
                engine.memory.release(3 * byteCount)
                throw error
            }
            let buffer = engine.buffers.take()
            content.withUnsafeBytes { buffer.append($0) }
            return try await engine.process(.bytes(buffer), reserved: 3 * byteCount, for: writer)
        }
    }

    private func claim(_ place: Int) throws -> Int {
        try Task.checkCancellation()
        guard place >= 0, place < chunkCount else {
            throw BackupFailure(.invalidInput, "\(archive) ends before chunk \(place)")
        }
        let isFirst = state.withLock { state in
            let (word, bit) = (place / 64, UInt64(1) << UInt64(place % 64))
            defer { state.isPut[word] |= bit }
            return state.isPut[word] & bit == 0
        }
        guard isFirst else { throw BackupFailure(.invalidInput, "Chunk \(place) of \(archive) came twice") }
        return byteCount(of: place)
    }

    private func reserve(_ byteCount: Int) async throws {
        do { try await upload.engine.memory.acquire(byteCount) } catch { throw upload.engine.firstFailure ?? error }
    }

    /// Starts the way of a chunk. The task ends with its entry on the server or with the failure of the upload;
    /// ``finish()`` and ``waitUntilIdle()`` wait for it.
    private func send(_ place: Int, _ work: @escaping @Sendable () async throws -> ChunkDigest) {
        state.withLock { $0.inFlight += 1 }
        Task { [self] in
            do {
                let digest = try await work()
                try await upload.engine.known.waitUntilUploaded(digest)
                try await note(digest, at: place)
            } catch {
                upload.engine.abort(error)
            }
            let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.inFlight -= 1
                return state.inFlight == 0 ? state.whenIdle.take() : nil
            }
            waiting?.resume()
        }
    }

    /// The server has a chunk.
    private func note(_ digest: ChunkDigest, at place: Int) async throws {
        let full = state.withLock { state -> [(digest: ChunkDigest, offset: UInt64)] in
            if isCopied, state.digests[place] == digest { return [] }
            state.digests[place] = digest
            state.batch.append((digest, UInt64(place) * Self.chunkBytes))
            return state.batch.count >= IndexUpload.longBatchLimit ? Self.take(&state) : []
        }
        try await append(full)
    }

    private static func take(_ state: inout State) -> [(digest: ChunkDigest, offset: UInt64)] {
        defer { state.batch = [] }
        state.appendedCount += state.batch.count
        return state.batch
    }

    private func append(_ entries: [(digest: ChunkDigest, offset: UInt64)]) async throws {
        guard !entries.isEmpty else { return }
        let writer = upload.writer
        try await upload.engine.calls.append(writer: writer.id, kind: .fixed, entries, to: archive)
    }

    // MARK: - The end

    /// Returns when no chunk is on its way any more.
    package func waitUntilIdle() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.inFlight == 0 { return true }
                precondition(state.whenIdle == nil, "an image is finished once, by one task")
                state.whenIdle = continuation
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    /// Waits for the chunks, names those that nobody put, and closes the index.
    func finish() async throws -> IndexSummary {
        await waitUntilIdle()
        if let failure = upload.engine.firstFailure { throw failure }
        try await append(state.withLock { Self.take(&$0) })
        if !isCopied { try await nameTheRest() }
        let (digests, count) = state.withLock { ($0.digests, $0.appendedCount) }
        var checksum = FixedIndexChecksum()
        for digest in digests { checksum.add(digest) }
        try await upload.engine.calls.closeIndex(
            writer: upload.writer.id, kind: .fixed, count: count, size: size, checksum: checksum.value, of: archive)
        return IndexSummary(archive: archive, size: size, chunkCount: digests.count, checksum: checksum.value)
    }

    private func nameTheRest() async throws {
        let engine = upload.engine
        var sentZeros: Set<Int> = []
        for place in 0..<chunkCount {
            let (digest, isPut) = state.withLock { state in
                (state.digests[place], state.isPut[place / 64] & 1 << UInt64(place % 64) != 0)
            }
            if isPut { continue }
            let byteCount = byteCount(of: place)
            if digest == engine.codec.digestOfZeros(byteCount), sentZeros.insert(byteCount).inserted {
                try await engine.memory.acquire(2 * byteCount)
                _ = try await engine.process(.zeros(byteCount: byteCount), reserved: 2 * byteCount, for: upload.writer)
                // Another image of the snapshot may be sending the same zeros.
                try await engine.known.waitUntilUploaded(digest)
            }
            let full = state.withLock { state -> [(digest: ChunkDigest, offset: UInt64)] in
                state.batch.append((digest, UInt64(place) * Self.chunkBytes))
                return state.batch.count >= IndexUpload.longBatchLimit ? Self.take(&state) : []
            }
            try await append(full)
        }
        try await append(state.withLock { Self.take(&$0) })
    }
}
