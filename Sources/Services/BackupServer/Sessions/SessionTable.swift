import BackupFormats
import Synchronization

/// A session as the table of all sees it.
protocol LiveSession: AnyObject, Sendable {
    func close(reason: String)
}

/// The sessions that are open: their number is limited, and a server that stops ends them all.
final class SessionTable: Sendable {
    private struct Entry {
        weak var session: (any LiveSession)?
    }

    private struct State {
        var entries: [ObjectIdentifier: Entry] = [:]
        /// Sessions that are just being opened.
        var opening = 0
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []

        var isEmpty: Bool { entries.isEmpty && opening == 0 }
    }

    private let limit: Int
    /// What all sessions have moved.
    let traffic = TrafficCounters()
    private let state = Mutex(State())

    init(limit: Int) { self.limit = limit }

    var count: Int { state.withLock { $0.entries.count } }

    /// Makes room for one session; ``add(_:)`` or ``giveUp()`` follows.
    func reserve() throws(BackupFailure) {
        try state.withLock { state throws(BackupFailure) in
            if state.isClosed { throw BackupFailure(.unavailable, "the server is being stopped") }
            guard state.entries.count + state.opening < limit else {
                throw BackupFailure(.unavailable, "too many sessions are open (\(limit)); try again later")
            }
            state.opening += 1
        }
    }

    func giveUp() {
        resume(
            state.withLock { state in
                state.opening -= 1
                return Self.waiters(&state)
            })
    }

    func add(_ session: any LiveSession) {
        let isClosed = state.withLock { state in
            state.opening -= 1
            state.entries[ObjectIdentifier(session)] = Entry(session: session)
            return state.isClosed
        }
        if isClosed { session.close(reason: "the server is being stopped") }
    }

    func remove(_ id: ObjectIdentifier) {
        resume(
            state.withLock { state in
                state.entries[id] = nil
                return Self.waiters(&state)
            })
    }

    /// Opens no more, ends all and waits until they have cleaned up.
    func shutDown(reason: String) async {
        let sessions = state.withLock { state in
            state.isClosed = true
            return state.entries.values.compactMap(\.session)
        }
        for session in sessions { session.close(reason: reason) }
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.isEmpty { return true }
                state.waiters.append(continuation)
                return false
            }
            if isDone { continuation.resume() }
        }
    }

    private static func waiters(_ state: inout State) -> [CheckedContinuation<Void, Never>] {
        guard state.isEmpty else { return [] }
        defer { state.waiters = [] }
        return state.waiters
    }

    private func resume(_ waiters: [CheckedContinuation<Void, Never>]) {
        for waiter in waiters { waiter.resume() }
    }
}
