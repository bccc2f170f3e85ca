import Synchronization
import Tasks

/// The outcome of work that goes on by itself: set once, asked for with patience.
final class LateValue<Value: Sendable>: Sendable {
    private let outcome = Mutex<Result<Value, any Error>?>(nil)
    private let waiters = Waiters()

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

    private func set(_ result: Result<Value, any Error>) {
        outcome.withLock { $0 = result }
        waiters.wakeAll()
    }

    /// The outcome; nil where there is none yet after so long, or where the caller's task was cancelled meanwhile.
    func get(within limit: Duration) async -> Result<Value, any Error>? {
        if limit > .zero { await waiters.wait(atMost: limit) { outcome.withLock { $0 != nil } } }
        return outcome.withLock { $0 }
    }
}
