import BackupProtocol
package import NIOCore
package import NIOHTTP2
import NIOHPACK
import NIOSSL
import NIOTLS

/// The server's end of an HTTP/2 connection: gathers requests within the body budget, gives them to
/// the receiver in order of arrival, sends the answers.
///
/// Works on frames rather than on a channel per stream: requests then arrive in exactly the order of
/// their last bytes, across streams.
package final class HTTP2ServerHandler: ChannelInboundHandler {
    package typealias InboundIn = HTTP2Frame
    package typealias OutboundOut = HTTP2Frame

    let receiver: any RequestReceiver
    let share: BodyBudget.Share
    private let gate: ReadGate
    private let watch: OutboundFrameWatch
    let timers: ConnectionTimers
    private let peer: HTTP2Parameters.Peer
    private let ended: @Sendable () -> Void

    var streams: [HTTP2StreamID: ServerStream] = [:]
    private var lastStreamID = HTTP2StreamID.rootStream
    private var lastSign = NIODeadline.now()
    /// When something of a call last came or went; an answered PING is a sign of life, but no work.
    private var lastWork = NIODeadline.now()
    private var asksForSign = false
    private var timer: RepeatedTask?
    private var closeReason: String?
    private var failure: String?
    private var sawTLSClose = false
    private var isQuiescing = false
    private var hasEnded = false

    private init(
        receiver: any RequestReceiver, peer: HTTP2Parameters.Peer, gate: ReadGate, watch: OutboundFrameWatch,
        timers: ConnectionTimers, ended: @escaping @Sendable () -> Void
    ) {
        self.receiver = receiver
        self.peer = peer
        self.gate = gate
        self.watch = watch
        share = gate.share
        self.timers = timers
        self.ended = ended
    }

    /// Puts HTTP/2 at the end of a pipeline; SETTINGS and the connection's window go out at once.
    ///
    /// To be called on the event loop. `ended` is called on any thread when the connection is over and what it leaves
    /// to do has been done.
    package static func add(
        to channel: any Channel, receiver: any RequestReceiver, peer: HTTP2Parameters.Peer, gate: ReadGate,
        timers: ConnectionTimers, ended: @escaping @Sendable () -> Void
    ) throws {
        let watch = OutboundFrameWatch(announcing: SessionLimits.concurrentCalls)
        let handler = HTTP2ServerHandler(
            receiver: receiver, peer: peer, gate: gate, watch: watch, timers: timers, ended: ended)
        try channel.pipeline.syncOperations.addHandlers([
            watch, EarlyAcknowledgement(), HTTP2Parameters.serverHandler(for: peer), handler,
        ])
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        write(HTTP2Windows.opening(), context: context)
        context.flush()
        let interval = TimeAmount(min(timers.keepalive ?? timers.idle, timers.idle, timers.feedPatience) / 4)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            bound.value.0.tick(context: bound.value.1)
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        finish(context: context)
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) { finish(context: context) }

    private func finish(context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        hasEnded = true
        timer?.cancel()
        for stream in streams.values {
            stream.isClosed = true
            stream.sender?.cancel()
            abandon(stream, reason: "the connection of the client is over")
        }
        streams = [:]
        share.leave()
        let end: ConnectionEnd =
            if let closeReason {
                .lost(reason: closeReason)
            } else if sawTLSClose {
                .closed
            } else {
                .lost(reason: "connection error: \(failure ?? "the connection was cut")")
            }
        let work = receiver.connectionEnded(end)
        let ended = ended
        Task {
            await work()
            ended()
        }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        noteSign()
        guard closeReason == nil else { return }
        switch frame.payload {
        case .headers(let headers):
            lastWork = .now()
            headersArrived(headers, on: frame.streamID, context: context)
        case .data(let data):
            lastWork = .now()
            dataArrived(data, on: frame.streamID, context: context)
        case .goAway: quiesce(context: context, sendsGoAway: false)
        default: break
        }
    }

    private func headersArrived(
        _ frame: HTTP2Frame.FramePayload.Headers, on id: HTTP2StreamID, context: ChannelHandlerContext
    ) {
        if let stream = streams[id] {
            // Trailers.
            if frame.endStream { complete(stream, id, context: context) }
            return
        }
        lastStreamID = max(lastStreamID, id)
        guard let head = StreamHead(frame.headers) else {
            return write(HTTP2Frame(streamID: id, payload: .rstStream(.protocolError)), context: context)
        }
        guard streams.count < HTTP2Parameters.servedStreams else {
            return write(HTTP2Frame(streamID: id, payload: .rstStream(.refusedStream)), context: context)
        }
        let stream = ServerStream(
            head: head, treatment: .drop, awaitsReceipt: false, window: HTTP2Parameters.initialWindow(of: peer))
        streams[id] = stream
        switch receiver.admit(head) {
        case .collect(let limit, let tooLong):
            stream.treatment = .collect(limit: limit, tooLong: tooLong)
            stream.awaitsReceipt = true
            if !frame.endStream { widen(stream, id, context: context) }
        case .discard:
            stream.awaitsReceipt = true
            if !frame.endStream { widen(stream, id, context: context) }
        case .answer(let answer): respond(answer, to: stream, id, context: context)
        case .stream(let work): begin(stream, id, work: work, context: context)
        }
        if frame.endStream { complete(stream, id, context: context) }
    }

    private func dataArrived(
        _ frame: HTTP2Frame.FramePayload.Data, on id: HTTP2StreamID, context: ChannelHandlerContext
    ) {
        guard let stream = streams[id], case .byteBuffer(let buffer) = frame.data else { return }
        switch stream.treatment {
        case .collect(let limit, let tooLong):
            gather(buffer, into: stream, id, limit: limit, tooLong: tooLong, context: context)
        case .stream(let body): append(buffer, to: body, of: stream)
        case .drop: break
        }
        if frame.endStream { complete(stream, id, context: context) }
    }

    private func gather(
        _ buffer: ByteBuffer, into stream: ServerStream, _ id: HTTP2StreamID, limit: Int, tooLong: StreamAnswer?,
        context: ChannelHandlerContext
    ) {
        let kept = min(buffer.readableBytes, limit - stream.body.count + (tooLong == nil ? 1 : 0))
        if kept > 0, let piece = buffer.getSlice(at: buffer.readerIndex, length: kept) {
            share.take(kept, room: stream.reserve(kept, limit: limit))
            piece.withUnsafeReadableBytes { stream.body.append(contentsOf: $0) }
        }
        guard buffer.readableBytes > kept || stream.body.count > limit else { return }
        stream.treatment = .drop
        if let tooLong {
            stream.awaitsReceipt = false
            dropBody(of: stream)
            respond(tooLong, to: stream, id, context: context)
        } else {
            receive(stream, id, context: context)
        }
    }

    private func complete(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        stream.isComplete = true
        if case .stream(let body) = stream.treatment { body.finish() }
        if stream.awaitsReceipt { receive(stream, id, context: context) }
    }

    /// Gives the request to the receiver and answers with what its work makes.
    private func receive(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        stream.awaitsReceipt = false
        let body = stream.body
        stream.body = []
        let room = stream.room
        share.finish(body.count, room: room)
        let work = receiver.receive(stream.head, body: body)
        let share = share
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, stream, context), eventLoop: loop)
        Task {
            let answer = await work()
            share.giveFinished(room)
            loop.execute {
                let (handler, stream, context) = bound.value
                handler.respond(answer, to: stream, id, context: context)
            }
        }
    }

    private func dropBody(of stream: ServerStream) {
        share.giveUnfinished(stream.body.count, room: stream.room)
        stream.body = []
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let event as StreamClosedEvent: closed(event.streamID, context: context)
        case let event as NIOHTTP2WindowUpdatedEvent: refill(event, context: context)
        case TLSUserEvent.shutdownCompleted: sawTLSClose = true
        case is ChannelShouldQuiesceEvent:
            if !receiver.holdsSession { quiesce(context: context, sendsGoAway: true) }
            endFeeds(context: context)
        case let event as ConnectionMustCloseEvent: close(.noError, reason: event.reason, context: context)
        case is ConnectionHoldsTooMuchEvent:
            close(.enhanceYourCalm, reason: "the client left too many request bodies unfinished", context: context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    private func closed(_ id: HTTP2StreamID, context: ChannelHandlerContext) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        stream.isClosed = true
        stream.sender?.cancel()
        abandon(stream, reason: "the client broke the stream off")
        if stream.awaitsReceipt { dropBody(of: stream) }
        if isQuiescing, streams.isEmpty { closeSoon(context: context) }
    }

    /// Called from within writes: closing at once would cut off what is being written.
    private func closeSoon(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.execute {
            let (handler, context) = bound.value
            if handler.streams.isEmpty { handler.closeChannel(context: context) }
        }
    }

    /// Opens the window of a stream whose body is gathered, or dropped.
    private func widen(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        let increment = HTTP2Parameters.windowBytes - stream.window
        guard increment > 0 else { return }
        write(HTTP2Frame(streamID: id, payload: .windowUpdate(windowSizeIncrement: increment)), context: context)
    }

    private func refill(_ event: NIOHTTP2WindowUpdatedEvent, context: ChannelHandlerContext) {
        guard closeReason == nil else { return }
        if let size = event.outboundWindowSize, let stream = streams[event.streamID] {
            if stream.stalledSince != nil, size > stream.outboundWindow { stream.stalledSince = .now() }
            stream.outboundWindow = size
        }
        guard let size = event.inboundWindowSize else { return }
        if event.streamID != .rootStream {
            guard let stream = streams[event.streamID] else { return }
            stream.window = size
            // Of a streamed body the window follows its reader.
            if case .stream = stream.treatment { return }
            if stream.isComplete { return }
        }
        guard let increment = HTTP2Windows.increment(at: size) else { return }
        write(
            HTTP2Frame(streamID: event.streamID, payload: .windowUpdate(windowSizeIncrement: increment)),
            context: context)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        context.fireChannelReadComplete()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Errors of single streams are reported here too; HTTP/2 has reset those.
        if error is any NIOHTTP2Error, !watch.hasSeenGoAway { return }
        if let error = error as? NIOSSLError, case .uncleanShutdown = error {
            failure = failure ?? "the connection was cut without a TLS close"
        } else {
            failure = failure ?? "\(error)"
        }
        closeChannel(context: context)
    }

    // MARK: Ending

    /// Lets running requests end and takes no new ones; sessions are not asked.
    private func quiesce(context: ChannelHandlerContext, sendsGoAway: Bool) {
        isQuiescing = true
        if sendsGoAway { writeGoAway(.noError, context: context) }
        if streams.isEmpty { closeSoon(context: context) }
    }

    private func close(_ code: HTTP2ErrorCode, reason: String, context: ChannelHandlerContext) {
        guard closeReason == nil, !hasEnded else { return }
        closeReason = reason
        writeGoAway(code, context: context)
        closeChannel(context: context)
    }

    private func closeChannel(context: ChannelHandlerContext) { context.close(promise: nil) }

    private func writeGoAway(_ code: HTTP2ErrorCode, context: ChannelHandlerContext) {
        write(
            HTTP2Frame(
                streamID: .rootStream, payload: .goAway(lastStreamID: lastStreamID, errorCode: code, opaqueData: nil)),
            context: context)
        context.flush()
    }

    func write(_ frame: HTTP2Frame, promise: EventLoopPromise<Void>? = nil, context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(frame), promise: promise)
    }

    // MARK: Signs of life

    func noteSign() {
        lastSign = .now()
        asksForSign = false
    }

    private func tick(context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        if !streams.isEmpty { lastWork = .now() }
        if gate.isClosed { return noteSign() }
        cutStalledFeeds(context: context)
        if NIODeadline.now() - lastWork >= TimeAmount(timers.idle) {
            return close(.noError, reason: "the client has been idle for too long", context: context)
        }
        let isAwaited = !streams.isEmpty || receiver.holdsSession
        guard let keepalive = timers.keepalive, isAwaited else { return }
        let silence = NIODeadline.now() - lastSign
        if silence >= TimeAmount(keepalive * 2) {
            close(.noError, reason: "connection error: the client gives no sign of life", context: context)
        } else if silence >= TimeAmount(keepalive), !asksForSign {
            asksForSign = true
            write(HTTP2Frame(streamID: .rootStream, payload: .ping(.init(), ack: false)), context: context)
            context.flush()
        }
    }
}
