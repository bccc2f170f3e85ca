import BackupFormats
import PeerSyncProtocol

/// How a session with a hub, or the attempt at one, ended: for the person who reads the state, and for the wait until the
/// next attempt. (Spec: backrest-sync §5.9, §5.11.)
struct SessionOutcome: Sendable {
    let state: WireConnectionState
    let message: String
    /// For the log only.
    let detail: String
    /// The hub did not take us as its member.
    let isRefusal: Bool
    /// It ended for a reason that has nothing to do with the hub: the next attempt is the first.
    let isRestart: Bool

    private init(
        _ state: WireConnectionState, _ message: String, detail: String = "", isRefusal: Bool = false,
        isRestart: Bool = false
    ) {
        self.state = state
        self.message = message
        self.detail = detail
        self.isRefusal = isRefusal
        self.isRestart = isRestart
    }

    /// There was no stream.
    init(dialFailure error: any Error) {
        guard let failure = error as? BackupFailure else {
            self.init(.retryWait, "the hub cannot be reached", detail: "\(error)")
            return
        }
        self.init(
            failure.kind == .notAuthenticated ? .errorAuth : .retryWait,
            ([failure.summary] + failure.hints).joined(separator: " "), detail: "\(failure)")
    }

    init(end error: any Error, of peer: Peer, ownKeyID: String, wasAccepted: Bool) {
        switch error {
        case MemberSession.Interruption.clockJumped:
            self.init(.retryWait, "\(error)", isRestart: true)
        case let end as StreamEnd: self.init(end: end, of: peer, ownKeyID: ownKeyID, wasAccepted: wasAccepted)
        case let failure as PeerSyncFailure:
            switch failure.kind {
            case .authentication: self.init(.errorAuth, failure.reason)
            case .protocolError, .invalidArgument, .unsupported, .tooLarge:
                self.init(.errorProtocol, "the hub sent \(failure.reason)")
            case .displaced, .internalFault: self.init(.errorInternal, failure.reason)
            }
        case let failure as BackupFailure where failure.kind == .internalFault || failure.kind == .storageFull:
            self.init(.errorInternal, failure.summary, detail: "\(failure)")
        // What answers is found out only when the first item is awaited.
        case is BackupFailure: self.init(dialFailure: error)
        default:
            self.init(.retryWait, "the connection to the hub was lost", detail: "\(error)")
        }
    }

    private init(end: StreamEnd, of peer: Peer, ownKeyID: String, wasAccepted: Bool) {
        switch end.code {
        case nil:
            self.init(
                .retryWait,
                wasAccepted
                    ? "the hub has ended the session: it was restarted, or what it grants has changed"
                    : "the hub has ended the session before it accepted this instance")
        case .permissionDenied, .unauthenticated:
            let why =
                peer.pairingSecret != nil
                ? "the pairing token may be used up, expired or mistyped: make a new one on the hub and join again"
                : "it does not know the key \(ownKeyID) of this instance under this name, or has removed it:"
                    + " pair again with a new token"
            self.init(.errorAuth, "the hub has refused this instance; \(why)", detail: "\(end)", isRefusal: true)
        case .internal where end.message.contains("displaced"):
            self.init(
                .retryWait,
                "another session with the key of this instance took its place: does a copy of it run elsewhere?",
                detail: "\(end)")
        case .invalidArgument, .unimplemented, .resourceExhausted:
            self.init(.errorProtocol, "the hub objects: \(Self.plain(end.message))", detail: "\(end)")
        default: self.init(.retryWait, "the hub has ended the session: \(Self.plain(end.message))", detail: "\(end)")
        }
    }

    /// A stranger's text for the state: one line, not long.
    private static func plain(_ text: String) -> String {
        String(text.unicodeScalars.prefix(300).map { $0.value < 0x20 || $0.value == 0x7f ? " " : Character($0) })
    }
}
