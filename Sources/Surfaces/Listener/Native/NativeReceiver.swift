import BackupFormats
import BackupHTTP2
import BackupProtocol
import ManagementAPI
import NIOCore

/// The requests of an HTTP/2 connection that began as one: the REST API, and beside it at most one
/// session below `/api2/json/<kind>/`. (Decision 8.)
final class NativeReceiver: RequestReceiver {
    private struct OpenSession {
        let kind: String
        let handler: any SessionHandler
        let identity: AuthID
    }

    private let surroundings: ConnectionSurroundings
    private let channel: any Channel
    private var session: OpenSession?
    private var isOpening = false
    private var end: ConnectionEnd?
    /// Done when the session's request before has been received: identities are asked in parallel, order stays.
    private var lastTurn: EventLoopFuture<Void>

    init(_ surroundings: ConnectionSurroundings, channel: any Channel) {
        self.surroundings = surroundings
        self.channel = channel
        lastTurn = channel.eventLoop.makeSucceededVoidFuture()
    }

    var holdsSession: Bool { session != nil }

    func admit(_ head: StreamHead) -> StreamAdmission {
        if let call = sessionCall(head) { return StreamAdmission(call.session.handler.admit(call.head)) }
        if opensSession(head), session != nil || isOpening { return .answer(Self.secondSession) }
        if surroundings.handler.takesStream(method: head.method, target: head.target) { return stream(head) }
        return .collect(
            limit: surroundings.handler.bodyLimit(method: head.method, target: head.target, headers: head.headers),
            tooLong: nil)
    }

    func receive(_ head: StreamHead, body: [UInt8]) -> @Sendable () async -> StreamAnswer {
        if let call = sessionCall(head) { return receive(call, from: head, body: body) }
        let opens = opensSession(head)
        if opens {
            if session != nil || isOpening { return { Self.secondSession } }
            isOpening = true
        }
        let request = request(head, body: body)
        let handler = surroundings.handler
        let loop = channel.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        return {
            let answer = await handler.handle(request)
            if !opens, case .response(let response) = answer { return StreamAnswer(response) }
            let settled = loop.submit { bound.value.settle(answer, opens: opens) }
            return (try? await settled.get()) ?? StreamAnswer(status: 503)
        }
    }

    /// A request whose body is read while it comes.
    private func stream(_ head: StreamHead) -> StreamAdmission {
        let request = request(head, body: [])
        let surroundings = surroundings
        let channel = channel
        return .stream { source in
            var request = request
            request.stream = source
            switch await surroundings.handler.handle(request) {
            case .response(let response): return StreamAnswer(response)
            case .upgrade(_, let session), .nativeSession(_, let session, _, _):
                surroundings.abandon(session, on: channel)
                return Self.text(400, "no session can be opened here")
            }
        }
    }

    func connectionEnded(_ end: ConnectionEnd) -> @Sendable () async -> Void {
        self.end = end
        guard let session = session?.handler else { return {} }
        return { await session.connectionEnded(end) }
    }

    /// What an answer means for the connection; on the event loop.
    private func settle(_ answer: RESTAnswer, opens: Bool) -> StreamAnswer {
        if opens { isOpening = false }
        switch answer {
        case .response(let response): return StreamAnswer(response)
        case .upgrade(_, let handler):
            surroundings.abandon(handler, on: channel)
            return Self.text(400, "a session over HTTP/2 is opened by POST")
        case .nativeSession(let kind, let handler, let identity, let response):
            guard end == nil, session == nil else {
                surroundings.abandon(handler, on: channel)
                return Self.secondSession
            }
            session = OpenSession(kind: kind, handler: handler, identity: identity)
            handler.attach(ChannelConnection(channel: channel))
            return StreamAnswer(response)
        }
    }

    // MARK: Calls of the session

    private func sessionCall(_ head: StreamHead) -> (session: OpenSession, head: BackupRequestHead)? {
        guard let session else { return nil }
        let (path, query) = RequestPath.split(head.target)
        let parts = RequestPath.components(path)
        guard parts.count > 3, parts[0] == "api2", parts[1] == "json", parts[2] == session.kind else { return nil }
        let inner = BackupRequestHead(
            method: head.method, path: "/" + parts[3...].joined(separator: "/"), query: query,
            contentType: head.header("content-type"))
        return (session, inner)
    }

    private func receive(
        _ call: (session: OpenSession, head: BackupRequestHead), from head: StreamHead, body: [UInt8]
    ) -> @Sendable () async -> StreamAnswer {
        let loop = channel.eventLoop
        let identity = loop.makePromise(of: AuthID?.self)
        let work = loop.makePromise(of: (@Sendable () async -> BackupResponse).self)
        let handler = surroundings.handler
        // Without the body: who sends it does not depend on it.
        let question = request(head, body: [])
        Task { identity.succeed(await handler.identify(question)) }
        let call = NIOLoopBound((call.session, BackupRequest(head: call.head, body: body)), eventLoop: loop)
        let bound = NIOLoopBound(self, eventLoop: loop)
        let refusal = Self.forbidden
        lastTurn = lastTurn.and(identity.futureResult).map { _, identity in
            let (session, request) = call.value
            if identity == session.identity, bound.value.end == nil {
                work.succeed(session.handler.receive(request))
            } else {
                work.succeed { refusal }
            }
        }
        lastTurn.cascadeFailure(to: work)
        return {
            guard let work = try? await work.futureResult.get() else { return StreamAnswer(refusal) }
            return StreamAnswer(await work())
        }
    }

    // MARK: Requests and answers

    private func opensSession(_ head: StreamHead) -> Bool {
        guard head.method == "POST" else { return false }
        let parts = RequestPath.components(RequestPath.split(head.target).path)
        return parts.count == 3 && parts[0] == "api2" && (parts[2] == "backup" || parts[2] == "reader")
    }

    private func request(_ head: StreamHead, body: [UInt8]) -> RESTRequest {
        RESTRequest(
            method: head.method, target: head.target, headers: head.headers, body: body, peer: channel.peerText,
            isHTTP2: true, arrival: head.arrival)
    }

    private static let forbidden = BackupResponse(
        status: 403, contentType: nil, body: .bytes(Array("the session belongs to somebody else".utf8)))

    private static let secondSession = text(400, "this connection has a session already")

    private static func text(_ status: Int, _ text: String) -> StreamAnswer {
        StreamAnswer(status: status, body: .bytes(Array(text.utf8)))
    }
}

extension StreamAnswer {
    init(_ response: RESTResponse) {
        self.init(
            status: response.status, headers: response.headers.filter { $0.name != "content-length" },
            body: response.body)
        isFeed = response.isFeed
    }
}
