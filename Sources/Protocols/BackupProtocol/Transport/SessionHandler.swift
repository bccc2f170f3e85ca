/// How the body of a call is to be treated, said when its head arrives.
package enum BodyAdmission: Sendable {
    /// Gather at most `limit` bytes, then ``SessionHandler/receive(_:)``. Where more arrive, answer `tooLong` at once
    /// and throw the rest away.
    case collect(limit: Int, tooLong: BackupResponse)
    /// Throw the body away as it arrives, then ``SessionHandler/receive(_:)`` with an empty body.
    case discard
    /// Answer this and throw the body away.
    case refuse(BackupResponse)
}

/// How a connection ended.
package enum ConnectionEnd: Sendable, Equatable {
    /// The other side closed it in good order (TLS close).
    case closed
    /// Anything else: a reset, a cut, a time limit. `reason` goes into the task's log.
    case lost(reason: String)
}

/// The server's side of one session, as its connection sees it.
///
/// Implemented by `BackupServer`, called by `BackupHTTP2` and ``InProcessTransport``. A connection calls `attach` once,
/// before anything else, and `connectionEnded` once, after everything else; work that `receive` returned may then still
/// run, and must be awaited or left to finish, not cancelled.
package protocol SessionHandler: Sendable {
    /// Says how to treat the body of a call, on arrival of its head.
    func admit(_ head: BackupRequestHead) -> BodyAdmission

    /// Takes a call on the last byte of its body; calls come in order of arrival.
    ///
    /// Runs on the connection's event loop and does not block. What depends on the order of arrival (writer ids, the
    /// place of an append) is settled before it returns; the work that it gives back makes the answer elsewhere, and
    /// must be run, once.
    func receive(_ request: BackupRequest) -> @Sendable () async -> BackupResponse

    /// Gives the session a way to end its connection, for aborted tasks and shutdown.
    func attach(_ connection: any SessionConnection)

    /// The connection is over. Returns when the session has published or cleaned up.
    func connectionEnded(_ end: ConnectionEnd) async
}

/// A connection, as its session sees it.
package protocol SessionConnection: Sendable {
    /// Ends the connection soon; `connectionEnded` follows. May be called from any thread, more than once.
    func close(reason: String)
}
