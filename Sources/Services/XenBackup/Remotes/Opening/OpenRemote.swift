import BackupFormats
import Synchronization

/// The files of a remote while they are open, and how many use them.
final class OpenRemote: Sendable {
    struct Content: Sendable {
        let files: any RemoteFiles
        /// Where the files lie on this machine; nil for object stores.
        let folder: String?
        let close: @Sendable () async -> Void
    }

    private struct State {
        var users = 1
        /// Nobody gets it any more.
        var isClosed = false
        var expiry: Task<Void, Never>?
    }

    let key: RemoteDescription.Key
    private let pool: @Sendable (OpenRemote) -> Void
    private let opening: Task<Content, any Error>
    private let state = Mutex(State())

    /// Begins to open; the first user has it.
    init(key: RemoteDescription.Key, pool: RepositoryPool, open: @escaping @Sendable () async throws -> Content) {
        self.key = key
        self.pool = { [weak pool] in pool?.forget($0) }
        // No task of a caller: others wait for it too, and a mount under way must be known when it is done.
        opening = Task { try await open() }
    }

    /// - Returns: How many used it before; nil where it is closed.
    func take() -> Int? {
        state.withLock { state in
            guard !state.isClosed else { return nil }
            state.expiry?.cancel()
            state.expiry = nil
            defer { state.users += 1 }
            return state.users
        }
    }

    /// Waits until it is open: no longer than the limit, and not after the caller was cancelled, whatever hangs below.
    func wait(at limit: Duration, for name: String) async throws -> Content {
        try await opening.value(within: limit) {
            BackupFailure(.unavailable, "The remote \(name) did not open within \(limit)")
        }
    }

    /// Gives up one use. After the last it is closed when `rest` has passed without another.
    func release(keepsFor rest: Duration) async {
        let isLast = state.withLock { state in
            state.users -= 1
            return state.users == 0 && !state.isClosed
        }
        guard isLast else { return }
        guard rest > .zero else { return await closeWhenUnused() }
        let expiry = Task {
            guard (try? await Task.sleep(for: rest)) != nil else { return }
            await closeWhenUnused()
        }
        state.withLock { state in
            if state.users == 0 { state.expiry = expiry } else { expiry.cancel() }
        }
    }

    func closeWhenUnused() async {
        let isOurs = state.withLock { state in
            guard state.users == 0, !state.isClosed else { return false }
            state.isClosed = true
            return true
        }
        guard isOurs else { return }
        pool(self)
        // What hangs while it is opened is closed when it is done.
        let opening = opening
        let closing = Task {
            if let content = try? await opening.value { await content.close() }
        }
        if (try? await opening.value(within: .seconds(1), orElse: { BackupFailure(.unavailable, "") })) != nil {
            await closing.value
        }
    }
}

extension Task where Failure == any Error {
    /// The value, awaited by one who may be cancelled or run out of time meanwhile; the task goes on for the others.
    func value(within limit: Duration, orElse failure: @escaping @Sendable () -> any Error) async throws -> Success {
        let waiter = Waiter<Success>()
        let timer = Task<Void, any Error> {
            try await Task<Never, Never>.sleep(for: limit)
            waiter.resume(.failure(failure()))
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                waiter.wait(continuation)
                Task<Void, Never> { waiter.resume(await self.result) }
            }
        } onCancel: {
            waiter.resume(.failure(Swift.CancellationError()))
        }
    }
}

/// Resumes a continuation with what comes first.
private final class Waiter<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<Value, any Error>)
        case early(Result<Value, any Error>)
        case done
    }
    private let state = Mutex(State.empty)

    func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let early = state.withLock { state -> Result<Value, any Error>? in
            if case .early(let result) = state {
                state = .done
                return result
            }
            state = .waiting(continuation)
            return nil
        }
        if let early { continuation.resume(with: early) }
    }

    func resume(_ result: Result<Value, any Error>) {
        let continuation = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .empty: state = .early(result)
            case .waiting(let continuation):
                state = .done
                return continuation
            case .early, .done: break
            }
            return nil
        }
        continuation?.resume(with: result)
    }
}
