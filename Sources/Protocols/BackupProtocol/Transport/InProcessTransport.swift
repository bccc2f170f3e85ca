import BackupFormats
import Synchronization

/// Joins a client to a server's session without a network: the whole protocol, no port.
///
/// At most ``SessionLimits/concurrentCalls`` calls are under way; further ones wait, in order.
package final class InProcessTransport: BackupTransport {
    private let session: any SessionHandler
    private let slots: CallSlots
    private let state = Mutex(State())

    private struct State {
        var isOver = false
        /// Runs the session's end; made once.
        var ending: Task<Void, Never>?
    }

    /// - Parameter session: Not yet attached to another connection.
    package init(_ session: any SessionHandler, concurrentCalls: Int = SessionLimits.concurrentCalls) {
        self.session = session
        slots = CallSlots(count: concurrentCalls)
        session.attach(Connection(transport: self))
    }

    package func send(_ request: BackupRequest) async throws -> BackupResponse {
        await slots.take()
        defer { slots.giveBack() }
        // The lock keeps calls in order, as an event loop does; the session does not block here.
        let work = try state.withLock { state throws(BackupFailure) -> @Sendable () async -> BackupResponse in
            guard !state.isOver else { throw Self.closed }
            return admit(request)
        }
        // Ends with the answer. A task of its own, since a session's work must not be cancelled with its caller.
        return await Task { await work() }.value
    }

    private func admit(_ request: BackupRequest) -> @Sendable () async -> BackupResponse {
        switch session.admit(request.head) {
        case .refuse(let response):
            return { response }
        case .collect(let limit, let tooLong):
            if request.body.count > limit { return { tooLong } }
            return session.receive(request)
        case .discard:
            return session.receive(BackupRequest(head: request.head))
        }
    }

    package func close() async {
        await end(.closed).value
    }

    /// Ends the connection as a network does that breaks; for tests of servers.
    package func cut(reason: String) async {
        await end(.lost(reason: reason)).value
    }

    private func end(_ end: ConnectionEnd) -> Task<Void, Never> {
        state.withLock { state in
            if let ending = state.ending { return ending }
            state.isOver = true
            let session = session
            // Ends when the session has cleaned up.
            let ending = Task { await session.connectionEnded(end) }
            state.ending = ending
            return ending
        }
    }

    private static let closed = BackupFailure(.unavailable, "the connection of this session is closed")

    private struct Connection: SessionConnection {
        weak let transport: InProcessTransport?

        func close(reason: String) {
            _ = transport?.end(.lost(reason: reason))
        }
    }
}

/// A number of slots that callers take and give back; those who wait get one in the order in which they came.
private final class CallSlots: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(count: Int) {
        precondition(count > 0, "without slots no call is ever made")
        state = Mutex(State(free: count))
    }

    func take() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}
