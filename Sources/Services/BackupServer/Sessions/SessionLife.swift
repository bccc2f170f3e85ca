import Synchronization

/// Counts the calls that a session works on, and keeps new ones out once it ends.
final class SessionLife: Sendable {
    private struct State {
        var active = 0
        var isOver = false
        /// Who waits for the last call; at most one, since a session ends once.
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    /// - Returns: false once the session is over; then ``leave()`` must not be called.
    func enter() -> Bool {
        state.withLock { state in
            if state.isOver { return false }
            state.active += 1
            return true
        }
    }

    func leave() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.active -= 1
            guard state.active == 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Lets no further call in.
    ///
    /// - Returns: false where the session was over already.
    func close() -> Bool {
        state.withLock { state in
            defer { state.isOver = true }
            return !state.isOver
        }
    }

    /// Waits for the calls that are inside. Once, after ``close()``.
    func drain() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.active == 0 { return true }
                state.waiter = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
    }
}
