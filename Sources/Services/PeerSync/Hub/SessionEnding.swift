import BackupFormats
import PeerSyncProtocol
import Synchronization

/// How a session of a member ended.
struct SessionEnd: Sendable {
    /// What the member is told.
    let end: StreamEnd
    let state: WireConnectionState
    /// For the log and the member's record here.
    let reason: String

    private init(_ end: StreamEnd, _ state: WireConnectionState, _ reason: String) {
        self.end = end
        self.state = state
        self.reason = reason
    }

    /// It closed its half of the stream.
    static let closed = SessionEnd(.clean, .disconnected, "the member ended the session")
    /// It is no peer any more, or may do other things than before. (Spec: backrest-sync §5.10.)
    static let revoked = SessionEnd(.clean, .disconnected, "the peer was removed, or its permissions were changed")
    static let stopped = SessionEnd(.clean, .disconnected, "this server stops")
    static let displaced = SessionEnd(
        StreamEnd(PeerSyncFailure(.displaced, "")), .disconnected, "a newer session of the same peer took its place")
    static let lost = SessionEnd(.clean, .disconnected, "the connection ended")
    static let silent = SessionEnd(.clean, .disconnected, "nothing was heard of it for long")

    static func refused(_ reason: String) -> SessionEnd {
        SessionEnd(StreamEnd(PeerSyncFailure(.authentication, reason)), .errorAuth, reason)
    }
    static func noKeyExchange() -> SessionEnd {
        let reason = "no key exchange within the time for it"
        return SessionEnd(StreamEnd(PeerSyncFailure(.protocolError, reason)), .errorProtocol, reason)
    }

    /// - Parameter isEstablished: Whether the peer was known already: then a broken seal is no question of identity.
    init(_ error: any Error, isEstablished: Bool) {
        if error is CancellationError {
            self = .lost
            return
        }
        if let failure = error as? BackupFailure {
            // The member is to come back and try again. (Spec: backrest-sync §5.10.)
            self.init(.clean, .errorInternal, "\(failure)")
            return
        }
        guard let failure = error as? PeerSyncFailure else {
            self.init(.clean, .disconnected, "the connection is lost: \(error)")
            return
        }
        switch failure.kind {
        case .authentication where isEstablished:
            self.init(StreamEnd(PeerSyncFailure(.internalFault, failure.reason)), .errorProtocol, failure.reason)
        case .authentication: self = .refused(failure.reason)
        case .displaced: self = .displaced
        case .protocolError, .invalidArgument, .tooLarge, .unsupported:
            self.init(StreamEnd(failure), .errorProtocol, failure.reason)
        case .internalFault: self.init(StreamEnd(failure), .errorInternal, failure.reason)
        }
    }
}

/// Decides once how a session ends; whoever comes first counts. The session's serving waits for it.
final class SessionEnding: Sendable {
    private struct State {
        var end: SessionEnd?
        var waiting: [CheckedContinuation<SessionEnd, Never>] = []
    }
    private let state = Mutex(State())

    var isOver: Bool { state.withLock { $0.end != nil } }

    func set(_ end: SessionEnd) {
        let waiting = state.withLock { state -> [CheckedContinuation<SessionEnd, Never>] in
            guard state.end == nil else { return [] }
            state.end = end
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume(returning: end) }
    }

    /// Ends the session at that time, unless the task is cancelled before.
    func set(_ end: SessionEnd, after time: Duration) -> Task<Void, Never> {
        Task {
            do { try await Task.sleep(for: time) } catch { return }
            set(end)
        }
    }

    func wait() async -> SessionEnd {
        await withCheckedContinuation { continuation in
            let end = state.withLock { state in
                if state.end == nil { state.waiting.append(continuation) }
                return state.end
            }
            if let end { continuation.resume(returning: end) }
        }
    }
}
