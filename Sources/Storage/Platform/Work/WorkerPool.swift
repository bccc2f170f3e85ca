import BackupFormats
import Synchronization

/// A fixed number of threads for work that blocks: files, checksums, compression. Jobs start in the order in which
/// they came.
package final class WorkerPool: Sendable {
    /// Jobs that may wait unless the pool is made with another limit.
    package static let defaultQueueLimit = 16_384

    private struct Job: Sendable {
        let ticket: Ticket
        /// Called once: with nil to run, with a failure to be told that it will not.
        let run: @Sendable (BackupFailure?) -> Void
    }

    private struct State: Sendable {
        /// Jobs before `first` have been taken; their places are empty, so that nothing they hold lives on.
        var waiting: [Job?] = []
        var first = 0
        var isClosed = false
    }

    /// One call of `run`; its flag changes under the lock of the state.
    private final class Ticket: Sendable {
        let isCancelled = Atomic(false)
    }

    package let name: String
    package let width: Int
    private let queueLimit: Int
    private let state = Monitor(State())

    /// - Parameters:
    ///   - width: Threads; they start at once and end after ``close()``.
    ///   - queueLimit: Jobs that may wait; a further one fails with `unavailable`.
    package init(name: String, width: Int, queueLimit: Int = WorkerPool.defaultQueueLimit) {
        precondition(width > 0, "a pool without threads never works")
        self.name = name
        self.width = width
        self.queueLimit = queueLimit
        let state = state
        for _ in 0..<width where !Threads.start({ Self.work(state) }) { break }
    }

    deinit { close() }

    /// Runs `body` on one of the threads and gives its result.
    ///
    /// A task that is cancelled before its job began gets `cancelled` and the job never runs; a job that has begun
    /// is finished.
    ///
    /// - Throws: What `body` throws; ``BackupFailure`` of kind `unavailable` where the queue is full or the pool is
    ///   closed, and of kind `cancelled`.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let ticket = Ticket()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let job = Job(ticket: ticket) { failure in
                    if let failure {
                        continuation.resume(throwing: failure)
                    } else {
                        continuation.resume(with: Result { try body() })
                    }
                }
                if let failure = add(job) { job.run(failure) }
            }
        } onCancel: {
            let job = state.withLock { state in
                ticket.isCancelled.store(true, ordering: .relaxed)
                let place = state.waiting[state.first...].firstIndex { $0?.ticket === ticket }
                return place.flatMap { state.waiting.remove(at: $0) }
            }
            job?.run(BackupFailure(.cancelled, "The work was cancelled before it began"))
        }
    }

    /// Takes no more jobs; those that wait are still done, then the threads end.
    package func close() {
        state.withLock(wake: true) { $0.isClosed = true }
    }

    private func add(_ job: Job) -> BackupFailure? {
        state.withLock(wake: true) { state in
            if state.isClosed { return BackupFailure(.unavailable, "The worker pool \(name) is closed") }
            if job.ticket.isCancelled.load(ordering: .relaxed) {
                return BackupFailure(.cancelled, "The work was cancelled before it began")
            }
            if state.waiting.count - state.first >= queueLimit {
                return BackupFailure(.unavailable, "Too much work is waiting (\(queueLimit) jobs in pool \(name))")
            }
            state.waiting.append(job)
            return nil
        }
    }

    private static func work(_ state: Monitor<State>) {
        while true {
            let job: Job?? = state.wait { state in
                if state.first < state.waiting.count {
                    let job = state.waiting[state.first].take()
                    state.first += 1
                    if state.first == state.waiting.count || state.first > 256 && state.first * 2 > state.waiting.count
                    {
                        state.waiting.removeFirst(state.first)
                        state.first = 0
                    }
                    return .some(job)
                }
                return state.isClosed ? .some(nil) : nil
            }
            guard let job, let job else { return }
            job.run(nil)
        }
    }
}
