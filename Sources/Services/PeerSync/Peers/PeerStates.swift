package import PeerSyncProtocol
import Synchronization

/// How it stands with each peer, now. A record belongs to a session: an older session cannot overwrite what a newer one
/// has said. (Spec: backrest-sync §5.11.)
package final class PeerStates: Sendable {
    /// A session's right to speak for a peer, until another begins.
    package struct Session: Sendable, Hashable {
        package let keyID: String
        fileprivate let number: UInt64
    }

    /// Changes that a slow listener may have waiting; older ones go, since each is a whole state.
    private static let maxWaiting = 4096

    private struct State {
        var states: [String: WirePeerState] = [:]
        var sessions: [String: UInt64] = [:]
        var lastSession: UInt64 = 0
        var listeners: [UInt64: AsyncStream<WirePeerState>.Continuation] = [:]
        var lastListener: UInt64 = 0
    }
    private let state = Mutex(State())

    package init() {}

    /// A new session of the peer; those before it are not heard any more.
    package func begin(_ keyID: String) -> Session {
        state.withLock { state in
            state.lastSession += 1
            state.sessions[keyID] = state.lastSession
            return Session(keyID: keyID, number: state.lastSession)
        }
    }

    package func isCurrent(_ session: Session) -> Bool {
        state.withLock { $0.sessions[session.keyID] == session.number }
    }

    /// Changes the record of the session's peer.
    ///
    /// - Returns: Whether the session was still the last one.
    @discardableResult
    package func update(_ session: Session, _ body: (inout WirePeerState) -> Void) -> Bool {
        state.withLock { state in
            guard state.sessions[session.keyID] == session.number else { return false }
            var record = state.states[session.keyID] ?? WirePeerState()
            record.peerKeyid = session.keyID
            body(&record)
            state.states[session.keyID] = record
            for listener in state.listeners.values { listener.yield(record) }
            return true
        }
    }

    /// Changes the record of a peer that is known and not connected; no session speaks for it.
    func note(_ keyID: String, _ body: (inout WirePeerState) -> Void) {
        state.withLock { state in
            guard var record = state.states[keyID], record.state != .connected else { return }
            body(&record)
            state.states[keyID] = record
            for listener in state.listeners.values { listener.yield(record) }
        }
    }

    package func state(of keyID: String) -> WirePeerState? { state.withLock { $0.states[keyID] } }

    package func forget(_ keyID: String) {
        state.withLock { state in
            state.states[keyID] = nil
            state.sessions[keyID] = nil
        }
    }

    /// The states of `peers` that are known, in this order, then, where `follows`, each change of any peer.
    package func stream(of peers: [String], follows: Bool) -> AsyncStream<WirePeerState> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: WirePeerState.self, bufferingPolicy: .bufferingNewest(Self.maxWaiting))
        let listener = state.withLock { state -> UInt64? in
            for keyID in peers { if let record = state.states[keyID] { continuation.yield(record) } }
            guard follows else { return nil }
            state.lastListener += 1
            state.listeners[state.lastListener] = continuation
            return state.lastListener
        }
        guard let listener else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.listeners[listener] = nil } }
        return stream
    }
}
