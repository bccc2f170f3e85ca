import BackupFormats
import Synchronization

/// The chunks decoded last, up to a number of bytes: repeated content is fetched once.
final class ChunkCache: Sendable {
    private struct State: Sendable {
        var chunks: [ChunkDigest: [UInt8]] = [:]
        /// From the one used longest ago to the newest.
        var order: [ChunkDigest] = []
        var bytes = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(byteLimit: Int) { limit = byteLimit }

    func find(_ digest: ChunkDigest) -> [UInt8]? {
        state.withLock { state in
            guard let chunk = state.chunks[digest] else { return nil }
            if let place = state.order.lastIndex(of: digest) {
                state.order.remove(at: place)
                state.order.append(digest)
            }
            return chunk
        }
    }

    func add(_ digest: ChunkDigest, _ chunk: [UInt8]) {
        state.withLock { state in
            guard chunk.count <= limit, state.chunks[digest] == nil else { return }
            while state.bytes + chunk.count > limit, !state.order.isEmpty {
                let oldest = state.order.removeFirst()
                state.bytes -= state.chunks.removeValue(forKey: oldest)?.count ?? 0
            }
            state.chunks[digest] = chunk
            state.order.append(digest)
            state.bytes += chunk.count
        }
    }
}
