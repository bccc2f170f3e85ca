import PeerSyncProtocol

/// An open stream of outer items, seen by the session that lives on it. One reader, one writer.
package protocol PeerStream: Sendable {
    /// Where the other side is, without its port: limits count by it, logs name it.
    var peerAddress: String { get }
    /// The bytes of the next outer item, at most as large as the limit of strangers until ``trust()``.
    ///
    /// - Returns: nil when the other side has ended the stream in order.
    /// - Throws: ``PeerSyncFailure`` for what is malformed or too large; at a member ``StreamEnd`` with what the hub ended
    ///   the stream with, which may be ``StreamEnd/clean``; other errors where the connection is cut.
    func receive() async throws -> [UInt8]?
    /// Takes the bytes of an outer item. Returns when there is room for another.
    ///
    /// - Throws: Where the connection is cut, or the other side takes nothing for ``PeerLimits/sendPatience``.
    func send(_ item: [UInt8]) async throws
    /// The peer has proved who it is: from now on items of ``EnvelopeReader/limitOfPeers`` are taken.
    func trust()
    /// Cuts the stream; both calls throw from now on. May be called from anywhere, more than once.
    func close()
}

/// Opens streams to hubs; the program gives one that speaks HTTP/2.
package protocol PeerDialer: Sendable {
    /// - Throws: ``BackupFailure``: `unavailable` where nobody answers; `notAuthenticated` with the certificate's
    ///   fingerprint where it is not trusted; `invalidInput` where something answers that is no hub.
    func dial(_ hub: HubAddress) async throws -> any PeerStream
}

/// Bounds of sessions. (Spec: backrest-sync §3.3, §3.4, §6.2, §9.2.)
package enum PeerLimits {
    /// Time for the other side to take an item when the queue is full.
    package static let sendPatience = Duration.seconds(30)
    /// Sessions of one address that have not proved who they are.
    package static let strangersPerAddress = 10
    /// Sessions of one hub that have not proved who they are.
    package static let strangers = 200
    /// Time that a refusal of a key or a secret is held back.
    package static let refusalDelay = Duration.seconds(1)
    /// Sides tell each other at least so often that they are there.
    package static let heartbeat = Duration.seconds(55)
    /// Silence after which a session ends.
    package static let silence = Duration.seconds(30 * 60)
    package static let members = 1000
    /// Operations in one answer.
    package static let operationsPerAnswer = 512
}
