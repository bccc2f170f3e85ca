import BackupFormats
import Platform
import Synchronization

/// A stock of units (bytes, places) that work in progress takes from and gives back to: what bounds the client's memory.
///
/// Requests are served in order of arrival, so that a large one is not starved by small ones. One that asks for more
/// than the whole stock gets the whole stock.
package final class Budget: Sendable {
    private struct Waiter: Sendable {
        let units: Int
        let resume: @Sendable ((any Error)?) -> Void
    }

    private struct State: Sendable {
        var available: Int
        var waiters: [Waiter] = []
        var failure: (any Error)?
    }

    package let total: Int
    private let state: Mutex<State>

    package init(total: Int) {
        precondition(total > 0, "an empty stock never serves anybody")
        self.total = total
        state = Mutex(State(available: total))
    }

    /// Takes `units`, waiting as a task.
    ///
    /// - Throws: What ``fail(_:)`` was called with.
    package func acquire(_ units: Int) async throws {
        let _: Void = try await withCheckedThrowingContinuation { continuation in
            enqueue(units) { failure in
                if let failure { continuation.resume(throwing: failure) } else { continuation.resume() }
            }
        }
    }

    /// Takes `units`, blocking the thread.
    ///
    /// - Throws: What ``fail(_:)`` was called with.
    package func acquireBlocking(_ units: Int) throws {
        let answer = Monitor<Result<Void, any Error>?>(nil)
        enqueue(units) { failure in
            answer.withLock(wake: true) { $0 = failure.map { .failure($0) } ?? .success(()) }
        }
        try answer.wait { $0 }.get()
    }

    package func release(_ units: Int) {
        let served = state.withLock { state in
            state.available += min(units, total)
            return Self.serve(&state)
        }
        for waiter in served { waiter.resume(nil) }
    }

    /// Lets all who wait, and all who come, fail with `error`. The first error stays.
    package func fail(_ error: any Error) {
        let waiters = state.withLock { state in
            state.failure = state.failure ?? error
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(error) }
    }

    private func enqueue(_ units: Int, resume: @escaping @Sendable ((any Error)?) -> Void) {
        let (served, failure) = state.withLock { state -> ([Waiter], (any Error)?) in
            if let failure = state.failure { return ([], failure) }
            state.waiters.append(Waiter(units: min(units, total), resume: resume))
            return (Self.serve(&state), nil)
        }
        if let failure { return resume(failure) }
        for waiter in served { waiter.resume(nil) }
    }

    private static func serve(_ state: inout State) -> [Waiter] {
        var count = 0
        while count < state.waiters.count, state.waiters[count].units <= state.available {
            state.available -= state.waiters[count].units
            count += 1
        }
        guard count > 0 else { return [] }
        defer { state.waiters.removeFirst(count) }
        return Array(state.waiters[..<count])
    }
}
