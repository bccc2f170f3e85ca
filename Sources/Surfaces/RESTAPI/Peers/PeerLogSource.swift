import BackupFormats
import Synchronization

/// A log that comes from a member, as the body of an answer.
final class PeerLogSource: ByteSource {
    /// Silence after which the log of a running operation is taken for read, where it is not followed.
    private static let quiet = Duration.seconds(2)
    /// Time for the member to refuse before the answer begins.
    private static let patience = Duration.seconds(10)
    private static let step = Duration.milliseconds(50)

    private struct State {
        var rest: ArraySlice<UInt8> = []
        /// The piece that is being waited for.
        var pending: Piece?
    }
    private let stream: AsyncThrowingStream<[UInt8], any Error>
    private let follows: Bool
    private let state = Mutex(State())

    init(_ stream: AsyncThrowingStream<[UInt8], any Error>, follows: Bool) {
        self.stream = stream
        self.follows = follows
    }

    deinit { state.withLock { $0.pending?.task.cancel() } }

    /// Waits for the first bytes, so that a refusal is still an answer of its own.
    func prime() async throws {
        let piece = next()
        guard try await piece.isThere(within: Self.patience) else { return }
        state.withLock { $0.pending = nil }
        let bytes = try await piece.task.value
        state.withLock { $0.rest = (bytes ?? [])[...] }
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        while true {
            let ready = state.withLock { state in
                let ready = state.rest.prefix(maxBytes)
                state.rest = state.rest.dropFirst(ready.count)
                return Array(ready)
            }
            if !ready.isEmpty { return ready }
            let piece = next()
            if !follows, try await !piece.isThere(within: Self.quiet) {
                piece.task.cancel()
                return nil
            }
            let bytes = try await withTaskCancellationHandler {
                try await piece.task.value
            } onCancel: {
                piece.task.cancel()
            }
            state.withLock { $0.pending = nil }
            guard let bytes else { return nil }
            state.withLock { $0.rest = bytes[...] }
        }
    }

    private func next() -> Piece {
        state.withLock { state in
            if let pending = state.pending { return pending }
            let piece = Piece(of: stream)
            state.pending = piece
            return piece
        }
    }

    /// The next piece of a stream, which may be waited for with a limit and again later.
    private struct Piece: Sendable {
        private final class Mark: Sendable {
            let isSet = Mutex(false)
        }
        /// Ends with the stream, or is cancelled by the source that waits for it.
        let task: Task<[UInt8]?, any Error>
        private let mark: Mark

        init(of stream: AsyncThrowingStream<[UInt8], any Error>) {
            let mark = Mark()
            self.mark = mark
            task = Task {
                defer { mark.isSet.withLock { $0 = true } }
                var iterator = stream.makeAsyncIterator()
                return try await iterator.next()
            }
        }

        func isThere(within limit: Duration) async throws -> Bool {
            let end = ContinuousClock.now + limit
            while !mark.isSet.withLock({ $0 }) {
                guard ContinuousClock.now < end else { return false }
                try await Task.sleep(for: PeerLogSource.step)
            }
            return true
        }
    }
}
