package import BackupFormats
package import BackupProtocol

/// The head of a request that came over HTTP/2.
package struct StreamHead: Sendable {
    package var method: String
    /// Path and query as sent.
    package var target: String
    /// Fields without the pseudo ones, names in lower case.
    package var headers: [(name: String, value: String)]
    package var arrival: ContinuousClock.Instant

    package init(
        method: String, target: String, headers: [(name: String, value: String)] = [],
        arrival: ContinuousClock.Instant = .now
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.arrival = arrival
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// An answer as it goes over HTTP/2: the status, the fields without `content-length`, the body.
package struct StreamAnswer: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: BackupResponse.Body
    /// Kept until the body has been sent or given up.
    package var hold: (any AnyObject & Sendable)?
    /// Whether the body goes on until the client has enough: a server that stops cuts it short.
    package var isFeed = false

    package init(status: Int, headers: [(name: String, value: String)] = [], body: BackupResponse.Body = .bytes([])) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(_ response: BackupResponse) {
        self.init(
            status: response.status, headers: response.contentType.map { [("content-type", $0)] } ?? [],
            body: response.body)
        hold = response.hold
    }
}

/// What to do with the body of a request.
package enum StreamAdmission: Sendable {
    /// Gather at most `limit` bytes. Where more arrive: answer `tooLong` and drop the rest, or, where that is nil,
    /// receive what was gathered, which is one byte more than `limit`.
    case collect(limit: Int, tooLong: StreamAnswer?)
    /// Drop it, then receive the request without it.
    case discard
    case answer(StreamAnswer)
    /// Hand it over at once with its body as a source, for an answer that may begin and end before the body has. The
    /// source ends with the client's side of the stream and throws where the stream breaks off; what is not read from it
    /// is, but for ``HTTP2Parameters/streamedWindowBytes``, not taken from the client. The work is cancelled with the stream.
    case stream(@Sendable (any ByteSource) async -> StreamAnswer)
}

/// Who gets the requests of an HTTP/2 connection. All calls come on the connection's event loop.
package protocol RequestReceiver: AnyObject {
    func admit(_ head: StreamHead) -> StreamAdmission
    /// On the last byte of a request. Must not block; the returned work runs elsewhere, once.
    func receive(_ head: StreamHead, body: [UInt8]) -> @Sendable () async -> StreamAnswer
    /// The connection is over. The returned work is run and awaited by the listener's stop.
    func connectionEnded(_ end: ConnectionEnd) -> @Sendable () async -> Void
    /// Whether a session lives on this connection: a graceful stop waits for it.
    var holdsSession: Bool { get }
}

/// A connection that belongs to one session, after the 101.
package final class SessionReceiver: RequestReceiver {
    private let session: any SessionHandler

    package init(session: any SessionHandler) { self.session = session }

    package var holdsSession: Bool { true }

    package func admit(_ head: StreamHead) -> StreamAdmission {
        StreamAdmission(session.admit(BackupRequestHead(head)))
    }

    package func receive(_ head: StreamHead, body: [UInt8]) -> @Sendable () async -> StreamAnswer {
        let work = session.receive(BackupRequest(head: BackupRequestHead(head), body: body))
        return { StreamAnswer(await work()) }
    }

    package func connectionEnded(_ end: ConnectionEnd) -> @Sendable () async -> Void {
        let session = session
        return { await session.connectionEnded(end) }
    }
}

extension StreamAdmission {
    /// The same, said by a session.
    package init(_ admission: BodyAdmission) {
        self =
            switch admission {
            case .collect(let limit, let tooLong): .collect(limit: limit, tooLong: StreamAnswer(tooLong))
            case .discard: .discard
            case .refuse(let response): .answer(StreamAnswer(response))
            }
    }
}

extension BackupRequestHead {
    /// The head as a session reads it; authority and credentials do not matter there.
    package init(_ head: StreamHead) {
        self.init(method: head.method, target: head.target, contentType: head.header("content-type"))
    }
}
