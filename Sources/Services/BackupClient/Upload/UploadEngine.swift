import BackupFormats
import BackupProtocol
import Platform
import Synchronization

/// What the archives of one snapshot share while they are sent: threads, memory, known chunks, the key, the connection.
///
/// The way of a chunk: read and cut (one thread an archive; an image is read on several) → digest, and only if the
/// server lacks it compressed and encrypted (all cores) → sent, many at once → named in an append, in the order of the
/// archive. The bytes are passed over once. What bounds the memory is ``memory``: a chunk reserves what its buffer
/// takes and, once more, its length for its blob, until the server has acknowledged it.
package final class UploadEngine: Sendable {
    /// Bytes that chunks on their way may hold, all archives together.
    package static let memoryLimit = 128 << 20
    /// Uploads that wait for their answer.
    package static let sendLimit = 64
    /// Threads that read images.
    package static let readerCount = 4

    let calls: SessionCalls
    let codec: ChunkCodec
    let known = KnownChunks()
    let buffers = ChunkBufferPool()
    let memory: Budget
    let sends = Budget(total: UploadEngine.sendLimit)
    let workers: WorkerPool
    let readers: WorkerPool
    /// Where nothing is sent, chunks are only cut and counted.
    let isDryRun: Bool
    package let counter = UploadCounter()
    private let failure = Mutex<(any Error)?>(nil)

    init(
        transport: any BackupTransport, codec: ChunkCodec, width: Int = ProcessInformation.processorCount,
        memoryLimit: Int = UploadEngine.memoryLimit, isDryRun: Bool = false
    ) {
        calls = SessionCalls(transport: transport)
        self.codec = codec
        self.isDryRun = isDryRun
        memory = Budget(total: memoryLimit)
        workers = WorkerPool(name: "encode", width: width)
        readers = WorkerPool(name: "read", width: Self.readerCount)
    }

    deinit {
        workers.close()
        readers.close()
    }

    /// Lets everything that waits or comes fail with `error`; the first error stays.
    package func abort(_ error: any Error) {
        failure.withLock { $0 = $0 ?? error }
        memory.fail(error)
        sends.fail(error)
        known.fail(error)
    }

    /// Why it was aborted, if it was: the failure that came first, not those that followed from it.
    var firstFailure: (any Error)? { failure.withLock { $0 } }

    /// Brings one chunk to the server unless the server has it.
    ///
    /// - Parameter reserved: Units of ``memory`` that the chunk holds; given back here.
    func process(_ content: ChunkContent, reserved: Int, for writer: ChunkWriter) async throws -> ChunkDigest {
        var held = reserved
        defer { memory.release(held) }
        let byteCount = content.byteCount
        let prepared = try await prepare(content)
        counter.update {
            $0.chunks += 1
            $0.readBytes += Int64(byteCount)
        }
        guard let blob = prepared.blob else {
            counter.update {
                $0.knownChunks += 1
                $0.knownBytes += Int64(byteCount)
            }
            return prepared.digest
        }
        // The blob, and its copy on the way out. The buffer is with those that wait, or gone.
        let rest = min(held, 2 * blob.count)
        memory.release(held - rest)
        held = rest
        var isDuplicate = false
        if !isDryRun {
            try await sends.acquire(1)
            defer { sends.release(1) }
            isDuplicate = try await calls.uploadChunk(
                writer: writer.id, kind: writer.kind, digest: prepared.digest, size: byteCount, blob: blob,
                of: writer.archive)
        }
        known.uploaded(prepared.digest)
        counter.update {
            $0.sentChunks += 1
            $0.sentBytes += Int64(byteCount)
            $0.encodedBytes += Int64(blob.count)
            if isDuplicate {
                $0.duplicateChunks += 1
                $0.duplicateEncodedBytes += Int64(blob.count)
            }
        }
        return prepared.digest
    }

    /// Digest, and the blob where the chunk has to be sent.
    private func prepare(_ content: ChunkContent) async throws -> PreparedChunk {
        switch content {
        case .bytes(let buffer):
            return try await workers.run { [self] in
                defer { buffers.giveBack(buffer) }
                if ZeroBytes.isZero(buffer.bytes) { return try encodeZeros(buffer.count) }
                return try encodeIfNew(buffer, digest: codec.digest(of: buffer.bytes))
            }
        case .zeros(let byteCount):
            return try await workers.run { [self] in try encodeZeros(byteCount) }
        case .image(let file, let offset, let byteCount):
            let buffer = try await readers.run { [self] () throws -> ChunkBuffer? in
                if try file.isHole(at: offset, count: byteCount) { return nil }
                let buffer = buffers.take()
                try file.read(into: buffer, at: offset, count: byteCount)
                return buffer
            }
            return try await workers.run { [self] in
                defer { if let buffer { buffers.giveBack(buffer) } }
                if let buffer, !ZeroBytes.isZero(buffer.bytes) {
                    return try encodeIfNew(buffer, digest: codec.digest(of: buffer.bytes))
                }
                return try encodeZeros(byteCount)
            }
        }
    }

    private func encodeIfNew(_ buffer: ChunkBuffer, digest: ChunkDigest) throws -> PreparedChunk {
        guard known.claim(digest) == .mine else { return PreparedChunk(digest: digest, blob: nil) }
        return PreparedChunk(digest: digest, blob: try codec.encode(buffer.bytes))
    }

    /// Zeros are not hashed each time, and a hole is not even read.
    private func encodeZeros(_ byteCount: Int) throws -> PreparedChunk {
        let digest = codec.digestOfZeros(byteCount)
        guard known.claim(digest) == .mine else { return PreparedChunk(digest: digest, blob: nil) }
        let zeros = [UInt8](repeating: 0, count: byteCount)
        return PreparedChunk(digest: digest, blob: try zeros.withUnsafeBytes { try codec.encode($0) })
    }

    private struct PreparedChunk: Sendable {
        var digest: ChunkDigest
        var blob: [UInt8]?
    }
}

/// Where the bytes of a chunk are.
enum ChunkContent: Sendable {
    case bytes(ChunkBuffer)
    case zeros(byteCount: Int)
    case image(ImageFile, offset: Int, byteCount: Int)

    var byteCount: Int {
        switch self {
        case .bytes(let buffer): buffer.count
        case .zeros(let byteCount): byteCount
        case .image(_, _, let byteCount): byteCount
        }
    }
}

/// An index that is open on the server, and takes chunks.
struct ChunkWriter: Sendable {
    let id: Int
    let kind: SessionCalls.IndexKind
    let archive: ArchiveName
}
