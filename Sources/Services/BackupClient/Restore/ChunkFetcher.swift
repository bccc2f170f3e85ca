import BackupFormats
import BackupProtocol
import Platform
import Synchronization

/// What a restore has done so far.
package struct RestoreStatistics: Sendable, Equatable {
    package var chunks: Int64 = 0
    /// Plain content that was handed on.
    package var bytes: Int64 = 0
    /// What came over the connection.
    package var receivedBytes: Int64 = 0
    /// All that there is to do.
    package var totalBytes: Int64 = 0

    package init() {}
}

/// Counts from many threads; whoever shows progress looks at ``current``.
package final class RestoreCounter: Sendable {
    private let statistics = Mutex(RestoreStatistics())

    package init() {}

    package var current: RestoreStatistics { statistics.withLock { $0 } }

    func update(_ change: (inout RestoreStatistics) -> Void) {
        statistics.withLock { change(&$0) }
    }
}

/// Brings the chunks of an archive: many requests at once, decoded on all cores.
struct ChunkFetcher: Sendable {
    /// Chunks that are asked for or wait for their turn, at most.
    static let windowCount = 32
    /// Plain bytes of them, at most (but always one chunk).
    static let windowBytes = 72 << 20
    /// Bytes of decoded chunks that are kept for repetitions.
    static let cacheBytes = 24 << 20

    let calls: SessionCalls
    let codec: ChunkCodec
    let workers: WorkerPool
    let counter: RestoreCounter
    private let cache: ChunkCache

    /// - Parameter codec: With the key exactly where the archive is encrypted.
    init(
        calls: SessionCalls, codec: ChunkCodec, workers: WorkerPool, counter: RestoreCounter,
        cacheBytes: Int = Self.cacheBytes
    ) {
        cache = ChunkCache(byteLimit: cacheBytes)
        self.calls = calls
        self.codec = codec
        self.workers = workers
        self.counter = counter
    }

    /// Whether a chunk holds zeros only, as its digest tells without asking for it.
    func isZero(_ digest: ChunkDigest, byteCount: Int) -> Bool {
        digest == codec.digestOfZeros(byteCount)
    }

    /// The plain content of one chunk, checked against its digest and length.
    ///
    /// - Throws: ``BackupFailure`` that names archive and chunk.
    func content(of digest: ChunkDigest, byteCount: Int, in list: ChunkList) async throws -> [UInt8] {
        if let cached = cache.find(digest), cached.count == byteCount { return cached }
        let blob = try await calls.chunk(digest, of: list.archive)
        counter.update { $0.receivedBytes += Int64(blob.count) }
        let content = try await workers.run { [codec] in
            do {
                return try codec.decode(blob, digest: digest, byteCount: byteCount)
            } catch {
                throw BackupFailure(
                    .corruptData, "Chunk \(digest) of \(list.archive) is damaged",
                    hints: ["Verify the snapshot on the server; restore an older snapshot if the chunk is lost."],
                    cause: error)
            }
        }
        cache.add(digest, content)
        return content
    }

    /// Calls `consume` with each chunk in order, on one thread; chunks to come are fetched meanwhile.
    func inOrder(
        _ list: ChunkList, from first: Int = 0, consume: @escaping @Sendable ([UInt8]) throws -> Void
    ) async throws {
        let thread = WorkerPool(name: "write \(list.archive)", width: 1)
        defer { thread.close() }
        try await window(list, from: first) { place, byteCount in
            let digest = list.digest(at: place)
            if isZero(digest, byteCount: byteCount) { return [UInt8](repeating: 0, count: byteCount) }
            return try await content(of: digest, byteCount: byteCount, in: list)
        } done: { content in
            try await thread.run { try consume(content) }
            counter.update {
                $0.chunks += 1
                $0.bytes += Int64(content.count)
            }
        }
    }

    /// Calls `write` with the offset of each chunk that is not all zeros, from several threads and in no certain order.
    func anyOrder(
        _ list: ChunkList, write: @escaping @Sendable (_ content: [UInt8], _ offset: UInt64) throws -> Void
    ) async throws {
        try await window(list, from: 0) { place, byteCount in
            let digest = list.digest(at: place)
            if !isZero(digest, byteCount: byteCount) {
                let content = try await content(of: digest, byteCount: byteCount, in: list)
                let offset = list.range(at: place).lowerBound
                try await workers.run { try write(content, offset) }
            }
            counter.update {
                $0.chunks += 1
                $0.bytes += Int64(byteCount)
            }
        } done: { (_: Void) in
        }
    }

    /// Runs `work` for the chunks from `first`, as many at once as the window allows, and `done` with the results in
    /// order.
    private func window<Value: Sendable>(
        _ list: ChunkList, from first: Int, work: @escaping @Sendable (Int, Int) async throws -> Value,
        done: (Value) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: (Int, Value).self) { group in
            var next = first
            var nextDone = first
            var heldBytes = 0
            var ready: [Int: Value] = [:]
            while nextDone < list.count {
                while next < list.count, next - nextDone < Self.windowCount {
                    let byteCount = list.range(at: next).count
                    guard heldBytes == 0 || heldBytes + byteCount <= Self.windowBytes else { break }
                    heldBytes += byteCount
                    group.addTask { [next] in (next, try await work(next, byteCount)) }
                    next += 1
                }
                if let value = ready.removeValue(forKey: nextDone) {
                    try await done(value)
                    heldBytes -= list.range(at: nextDone).count
                    nextDone += 1
                } else if let (place, value) = try await group.next() {
                    ready[place] = value
                }
            }
        }
    }
}
