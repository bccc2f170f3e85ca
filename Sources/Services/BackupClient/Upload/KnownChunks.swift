package import BackupFormats
import Synchronization

/// The chunks that the server has said it has, in this session: those of the previous snapshot's indexes, and those
/// that were uploaded. Shared by all archives of a snapshot.
///
/// A chunk that is being uploaded by one archive is not sent again by another, but may be appended only once the
/// server has it: ``waitUntilUploaded(_:)``.
package final class KnownChunks: Sendable {
    package enum Claim: Sendable {
        /// The server has it, or somebody is sending it.
        case known
        /// The caller is the first and has to send it.
        case mine
    }

    private struct State: Sendable {
        var known: Set<ChunkDigest> = []
        /// On their way, with those who wait for their arrival.
        var pending: [ChunkDigest: [CheckedContinuation<Void, any Error>]] = [:]
        var failure: (any Error)?
    }

    private let state = Mutex(State())

    package init() {}

    package var count: Int { state.withLock { $0.known.count } }

    /// Notes a chunk of the previous snapshot.
    package func add(_ digest: ChunkDigest) {
        state.withLock { _ = $0.known.insert(digest) }
    }

    func claim(_ digest: ChunkDigest) -> Claim {
        state.withLock { state in
            if state.known.contains(digest) || state.pending[digest] != nil { return .known }
            state.pending[digest] = []
            return .mine
        }
    }

    /// The server has acknowledged a chunk that was claimed.
    func uploaded(_ digest: ChunkDigest) {
        let waiting = state.withLock { state in
            state.known.insert(digest)
            return state.pending.removeValue(forKey: digest) ?? []
        }
        for continuation in waiting { continuation.resume() }
    }

    /// All who wait, and all who come, fail.
    func fail(_ error: any Error) {
        let waiting = state.withLock { state in
            state.failure = state.failure ?? error
            defer { state.pending = [:] }
            return state.pending.values.flatMap { $0 }
        }
        for continuation in waiting { continuation.resume(throwing: error) }
    }

    func waitUntilUploaded(_ digest: ChunkDigest) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let answer: Result<Void, any Error>? = state.withLock { state in
                if let failure = state.failure { return .failure(failure) }
                guard state.pending[digest] != nil else { return .success(()) }
                state.pending[digest]?.append(continuation)
                return nil
            }
            if let answer { continuation.resume(with: answer) }
        }
    }
}
