import BackupHTTP2
import BackupProtocol
import ManagementAPI
import NIOCore
import NIOSSL
import NIOTLS

/// The server's end of an HTTP/1.1 connection: one request after the other, until one is upgraded.
///
/// Parses itself rather than with the library's decoder: any request may turn the connection over to
/// HTTP/2, with the first bytes of that in the same packet.
final class HTTP1ServerHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Stage {
        case head
        case body(IncomingRequest)
        case answering
        case upgraded
        case closing
    }

    /// Bytes of further requests that are taken in while one is answered.
    private static let readAheadBytes = 64 * 1024
    /// How long what a refused client still sends is dropped before its connection ends.
    private static let lingerTime = TimeAmount.seconds(1)

    let surroundings: ConnectionSurroundings
    let gate: ReadGate
    private var stage = Stage.head
    private var received = ByteBuffer()
    private var heldRead = false
    private var deadline: Scheduled<Void>?
    private var isQuiescing = false
    private var isParsing = false
    /// Sends a streamed body.
    private var sender: Task<Void, Never>?
    /// Whether that body would go on for ever.
    private var answersFeed = false
    /// A request was answered whose body has not ended.
    private var leavesBody = false

    init(_ surroundings: ConnectionSurroundings, gate: ReadGate) {
        self.surroundings = surroundings
        self.gate = gate
    }

    func handlerAdded(context: ChannelHandlerContext) { arm(surroundings.timers.idle, context: context) }

    func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        // What a body is made of must not wait for somebody who is gone.
        sender?.cancel()
        if case .body(let request) = stage { gate.share.giveUnfinished(request.body.count) }
        if case .upgraded = stage {} else { stage = .closing }
        context.fireChannelInactive()
    }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if case .answering = stage, received.readableBytes >= Self.readAheadBytes {
            heldRead = true
        } else {
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch stage {
        case .upgraded: context.fireChannelRead(data)
        case .closing: break
        case .head, .body, .answering:
            received.writeBuffer(&bytes)
            parse(context: context)
        }
    }

    private func parse(context: ChannelHandlerContext) {
        guard !isParsing else { return }
        isParsing = true
        defer { isParsing = false }
        do {
            while try parseStep(context: context) {}
            if received.readableBytes == 0 { received.clear(minimumCapacity: 0) } else { received.discardReadBytes() }
        } catch let error as HTTP1Error {
            refuse(error, context: context)
        } catch {
            refuse(HTTP1Error.badRequest, context: context)
        }
    }

    /// Whether there may be more to do.
    private func parseStep(context: ChannelHandlerContext) throws -> Bool {
        switch stage {
        case .answering, .upgraded, .closing: return false
        case .head:
            let wasEmpty = received.readableBytes == 0
            guard let head = try HTTP1Head.take(from: &received) else {
                if !wasEmpty, deadlineIsIdle { arm(surroundings.limits.headTime, idle: false, context: context) }
                return false
            }
            try begin(try HTTP1RequestHead(head), context: context)
            return true
        case .body(let request):
            return try gather(request, context: context)
        }
    }

    private func begin(_ head: HTTP1RequestHead, context: ChannelHandlerContext) throws {
        let body = try HTTP1Body(of: head)
        if surroundings.handler.takesStream(method: head.method, target: head.target) {
            // Its body may never end, and cannot be used without HTTP/2: only a refusal is to come.
            let request = IncomingRequest(head: head, reader: body, limit: 0)
            request.isLast = true
            return handle(request, context: context)
        }
        let limit = surroundings.handler.bodyLimit(
            method: head.method, target: head.target, headers: head.fields.headers)
        let request = IncomingRequest(head: head, reader: body, limit: limit)
        stage = .body(request)
        arm(surroundings.limits.bodyTime, idle: false, context: context)
        if !body.hasEnded, !head.isVersion10, head.fields.header("expect", holds: "100-continue") {
            write("HTTP/1.1 100 Continue\r\n\r\n", context: context)
        }
    }

    private func gather(_ request: IncomingRequest, context: ChannelHandlerContext) throws -> Bool {
        let room = request.limit + 1 - request.body.count
        if room > 0, let piece = try request.reader.take(from: &received, limit: room) {
            gate.share.take(piece.readableBytes)
            piece.withUnsafeReadableBytes { request.body.append(contentsOf: $0) }
            arm(surroundings.limits.bodyTime, idle: false, context: context)
            return true
        }
        guard request.reader.hasEnded || request.body.count > request.limit else { return false }
        handle(request, context: context)
        return false
    }

    private func refuse(_ error: HTTP1Error, context: ChannelHandlerContext) {
        if case .body(let request) = stage { gate.share.giveUnfinished(request.body.count) }
        stage = .answering
        let response = RESTResponse(
            status: error.status, headers: [("content-type", "text/plain")], body: .bytes(Array(error.description.utf8))
        )
        send(response, method: "GET", isVersion10: false, keepsAlive: false, context: context)
    }

    // MARK: Answering

    private func handle(_ request: IncomingRequest, context: ChannelHandlerContext) {
        stage = .answering
        deadline?.cancel()
        let count = request.body.count
        gate.share.finish(count)
        let rest = RESTRequest(
            method: request.head.method, target: request.head.target, headers: request.head.fields.headers,
            body: request.body, peer: context.channel.peerText, isHTTP2: false, arrival: request.arrival)
        request.body = []
        let handler = surroundings.handler
        let share = gate.share
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, request, context), eventLoop: loop)
        Task {
            let answer = await handler.handle(rest)
            share.giveFinished(count)
            loop.execute { bound.value.0.answer(answer, to: bound.value.1, context: bound.value.2) }
        }
    }

    private func answer(_ answer: RESTAnswer, to request: IncomingRequest, context: ChannelHandlerContext) {
        let head = request.head
        switch answer {
        case .response(let response):
            guard context.channel.isActive else { return }
            let keepsAlive = head.keepsAlive && request.reader.hasEnded && !request.isLast && !isQuiescing
            leavesBody = !request.reader.hasEnded
            answersFeed = response.isFeed
            send(
                response, method: head.method, isVersion10: head.isVersion10, keepsAlive: keepsAlive,
                context: context)
        case .upgrade(let protocolID, let session):
            upgrade(to: protocolID, session: session, context: context)
        case .nativeSession(_, let session, _, _):
            surroundings.abandon(session, on: context.channel)
            refuse(HTTP1Error.badRequest, context: context)
        }
    }

    private func send(
        _ response: RESTResponse, method: String, isVersion10: Bool, keepsAlive: Bool, context: ChannelHandlerContext
    ) {
        let sender = HTTP1ResponseSender(
            response, method: method, isVersion10: isVersion10, keepsAlive: keepsAlive, channel: context.channel)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let (sent, task) = sender.send()
        self.sender = task
        sent.whenComplete { result in
            let (handler, context) = bound.value
            handler.sender = nil
            handler.answersFeed = false
            switch result {
            case .success(true): handler.nextRequest(context: context)
            case .success(false) where handler.leavesBody: handler.closeAfterAnswer(context: context)
            case .success, .failure:
                handler.stage = .closing
                context.close(promise: nil)
            }
        }
    }

    /// Half a close first: what the client still sends must not turn into a reset that eats the answer.
    private func closeAfterAnswer(context: ChannelHandlerContext) {
        stage = .closing
        received.clear(minimumCapacity: 0)
        if heldRead {
            heldRead = false
            context.read()
        }
        let channel = context.channel
        channel.close(mode: .output).whenComplete { _ in
            channel.eventLoop.scheduleTask(in: Self.lingerTime) { channel.close(promise: nil) }
        }
    }

    private func nextRequest(context: ChannelHandlerContext) {
        guard case .answering = stage, context.channel.isActive else { return }
        if isQuiescing {
            stage = .closing
            return context.close(promise: nil)
        }
        stage = .head
        arm(surroundings.timers.idle, context: context)
        parse(context: context)
        if heldRead {
            heldRead = false
            context.read()
        }
    }

    private func upgrade(to protocolID: String, session: any SessionHandler, context: ChannelHandlerContext) {
        let channel = context.channel
        guard channel.isActive, !isQuiescing else {
            surroundings.abandon(session, on: channel)
            return context.close(promise: nil)
        }
        stage = .upgraded
        deadline?.cancel()
        write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: \(protocolID)\r\n\r\n",
            context: context)
        session.attach(ChannelConnection(channel: channel))
        let ledger = surroundings.ledger
        ledger.began()
        do {
            try HTTP2ServerHandler.add(
                to: channel, receiver: SessionReceiver(session: session), peer: .authenticated, gate: gate,
                timers: surroundings.timers
            ) { ledger.ended() }
        } catch {
            ledger.ended()
            Task { await session.connectionEnded(.lost(reason: "connection error: \(error)")) }
            return context.close(promise: nil)
        }
        if received.readableBytes > 0 {
            context.fireChannelRead(NIOAny(received))
            context.fireChannelReadComplete()
        }
        received.clear(minimumCapacity: 0)
        if heldRead {
            heldRead = false
            context.read()
        }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func write(_ text: String, context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }

    // MARK: Ending

    private var deadlineIsIdle = true

    /// - Parameter idle: Whether the client owes nothing; a head or a body that has begun is owed.
    private func arm(_ limit: Duration, idle: Bool = true, context: ChannelHandlerContext) {
        deadline?.cancel()
        deadlineIsIdle = idle
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: TimeAmount(limit)) {
            let (handler, context) = bound.value
            // Whom the body budget holds back is not to blame.
            if handler.gate.isClosed { return handler.arm(limit, idle: idle, context: context) }
            if idle {
                handler.stage = .closing
                context.close(promise: nil)
            } else {
                handler.refuse(HTTP1Error.tooSlow, context: context)
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .upgraded = stage { return context.fireUserInboundEventTriggered(event) }
        switch event {
        case is ChannelShouldQuiesceEvent:
            isQuiescing = true
            if answersFeed { sender?.cancel() }
            if case .head = stage {
                stage = .closing
                context.close(promise: nil)
            }
        case is ConnectionMustCloseEvent, is ConnectionHoldsTooMuchEvent:
            stage = .closing
            context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .upgraded = stage { return context.fireErrorCaught(error) }
        stage = .closing
        context.close(promise: nil)
    }
}

/// A request whose body is being gathered.
final class IncomingRequest {
    let head: HTTP1RequestHead
    var reader: HTTP1Body
    let limit: Int
    var body: [UInt8] = []
    let arrival = ContinuousClock.now
    /// The connection ends with its answer.
    var isLast = false

    init(head: HTTP1RequestHead, reader: HTTP1Body, limit: Int) {
        self.head = head
        self.reader = reader
        self.limit = limit
    }
}

extension HTTP1Error {
    static let badRequest = HTTP1Error(status: 400, description: "bad request")
    static let tooSlow = HTTP1Error(status: 408, description: "the request took too long")
}

extension ConnectionSurroundings {
    /// Ends a session whose connection is gone before it could begin.
    func abandon(_ session: any SessionHandler, on channel: any Channel) {
        let ledger = ledger
        ledger.began()
        session.attach(ChannelConnection(channel: channel))
        Task {
            await session.connectionEnded(.lost(reason: "connection error: the client went away before the answer"))
            ledger.ended()
        }
    }
}
