import Synchronization

/// The outcome of work that goes on by itself: set once, asked for with patience.
final class LateValue<Value: Sendable>: Sendable {
    private struct State {
        var outcome: Result<Value, any Error>?
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter = 0
    }
    private let state = Mutex(State())

    /// Starts the work, whose outcome this is.
    ///
    /// - Returns: The work, for those who may end it.
    static func start(
        _ body: @escaping @Sendable () async throws -> Value
    ) -> (value: LateValue, work: Task<Void, Never>) {
        let value = LateValue()
        let work = Task {
            do {
                let result = try await body()
                value.set(.success(result))
            } catch {
                value.set(.failure(error))
            }
        }
        return (value, work)
    }

    private func set(_ outcome: Result<Value, any Error>) {
        let waiters = state.withLock { state in
            state.outcome = outcome
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume() }
    }

    /// The outcome; nil where there is none yet after so long, or where the caller's task was cancelled meanwhile.
    func get(within limit: Duration) async -> Result<Value, any Error>? {
        let id = state.withLock { state in
            defer { state.nextWaiter += 1 }
            return state.nextWaiter
        }
        let timer = Task {
            try? await Task.sleep(for: limit)
            release(id)
        }
        defer { timer.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mustWait = state.withLock { state in
                    guard state.outcome == nil, !Task.isCancelled else { return false }
                    state.waiters[id] = continuation
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            release(id)
        }
        return state.withLock { $0.outcome }
    }

    private func release(_ id: Int) { state.withLock { $0.waiters.removeValue(forKey: id) }?.resume() }
}
