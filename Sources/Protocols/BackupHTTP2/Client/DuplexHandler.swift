import BackupFormats
import NIOCore
import NIOHPACK
import NIOHTTP2

/// The client's end of an HTTP/2 connection with one stream.
final class DuplexHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private static let streamID = HTTP2StreamID(1)

    private let watch: OutboundFrameWatch
    private let request: HTTPRequest
    private let scheme: String
    private let address: ServerAddress
    private let options: ConnectionOptions
    /// The head of the answer, or why there is none.
    let answered: EventLoopPromise<DuplexStream.Head>
    let body = ReceivedBody(isCompact: true)
    private var context: ChannelHandlerContext?

    private var window = HTTP2Parameters.streamedWindowBytes
    private var hasHead = false
    private var hasFinished = false
    private var isOver = false
    private var failure: BackupFailure?
    private var lastSign = NIODeadline.now()
    private var asksForSign = false
    private var timer: RepeatedTask?

    private init(
        watch: OutboundFrameWatch, request: HTTPRequest, scheme: String, address: ServerAddress,
        options: ConnectionOptions, answered: EventLoopPromise<DuplexStream.Head>
    ) {
        self.watch = watch
        self.request = request
        self.scheme = scheme
        self.address = address
        self.options = options
        self.answered = answered
    }

    /// Puts HTTP/2 at the end of an active channel; preface, SETTINGS and the request's head go out at once.
    static func add(
        to channel: any Channel, request: HTTPRequest, scheme: String, address: ServerAddress,
        options: ConnectionOptions
    ) throws -> DuplexHandler {
        let watch = OutboundFrameWatch(skipping: OutboundFrameWatch.clientPrefaceBytes)
        let handler = DuplexHandler(
            watch: watch, request: request, scheme: scheme, address: address, options: options,
            answered: channel.eventLoop.makePromise())
        try channel.pipeline.syncOperations.addHandlers([
            watch, HTTP2Parameters.duplexClientHandler(), handler,
        ])
        return handler
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let loop = context.eventLoop
        body.observe {
            loop.execute { bound.value.refill() }
        } onDropped: {
            loop.execute { bound.value.close() }
        }
        write(.rootStream, HTTP2Windows.opening(HTTP2Parameters.duplexConnectionWindowBytes).payload)
        write(Self.streamID, .headers(.init(headers: fields)))
        if !request.body.isEmpty { send(request.body, promise: nil) }
        context.flush()
        let interval = TimeAmount(options.keepalive / 4)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            bound.value.tick()
        }
    }

    private var fields: HPACKHeaders {
        var fields = HPACKHeaders([
            (":method", request.method), (":scheme", scheme), (":authority", address.description),
            (":path", request.target),
        ])
        for (name, value) in request.headers { fields.add(name: name, value: value) }
        if !fields.contains(name: "user-agent") { fields.add(name: "user-agent", value: options.userAgent) }
        return fields
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(BackupFailure(.unavailable, "the connection to \(address) was lost"))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(BackupFailure(.unavailable, "the connection to \(address) is over"))
        self.context = nil
    }

    /// The stream is over; what has come stays readable.
    private func end(_ failure: BackupFailure) {
        timer?.cancel()
        isOver = true
        let failure = self.failure ?? failure
        self.failure = failure
        answered.fail(failure)
        body.fail(failure)
    }

    private func write(
        _ id: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload, promise: EventLoopPromise<Void>? = nil
    ) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        context.write(wrapOutboundOut(HTTP2Frame(streamID: id, payload: payload)), promise: promise)
    }

    // MARK: Sending

    func send(_ bytes: [UInt8], promise: EventLoopPromise<Void>?) {
        guard !isOver, !hasFinished, let context else {
            promise?.fail(failure ?? BackupFailure(.unavailable, "\(address) takes no more of this stream"))
            return
        }
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        let written = context.eventLoop.makePromise(of: Void.self)
        if let promise {
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            written.futureResult.whenComplete { result in
                switch result {
                case .success: promise.succeed(())
                case .failure(let error): promise.fail(bound.value.writeFailure(error))
                }
            }
        }
        write(Self.streamID, .data(.init(data: .byteBuffer(buffer))), promise: written)
        context.flush()
    }

    private func writeFailure(_ error: any Error) -> BackupFailure {
        failure ?? BackupFailure(.unavailable, "\(address) takes no more of this stream", cause: error)
    }

    func finishRequest() {
        guard !isOver, !hasFinished, let context else { return }
        hasFinished = true
        let empty = context.channel.allocator.buffer(capacity: 0)
        write(Self.streamID, .data(.init(data: .byteBuffer(empty), endStream: true)))
        context.flush()
    }

    func close() {
        guard let context else { return }
        if !isOver {
            end(BackupFailure(.cancelled, "the stream to \(address) was closed here"))
            write(Self.streamID, .rstStream(.cancel))
            context.flush()
        }
        context.close(promise: nil)
    }

    // MARK: Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        lastSign = .now()
        asksForSign = false
        guard frame.streamID == Self.streamID else { return }
        switch frame.payload {
        case .headers(let headers):
            headArrived(headers.headers)
            if headers.endStream { answerEnded() }
        case .data(let data):
            if case .byteBuffer(let buffer) = data.data { body.append(buffer) }
            if data.endStream { answerEnded() }
        default: break
        }
    }

    private func headArrived(_ fields: HPACKHeaders) {
        guard !hasHead else { return }
        guard let status = fields.first(name: ":status").flatMap({ Int($0) }) else {
            return end(BackupFailure(.unavailable, "\(address) sent an answer without a status"))
        }
        if status < 200 { return }
        hasHead = true
        let headers = fields.compactMap { name, value, _ in name.first == ":" ? nil : (name: name, value: value) }
        answered.succeed(DuplexStream.Head(status: status, headers: headers))
    }

    private func answerEnded() {
        answered.fail(BackupFailure(.unavailable, "\(address) sent no answer"))
        body.finish()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let event as StreamClosedEvent where event.streamID == Self.streamID:
            let reason = event.reason.map { " (\($0))" } ?? ""
            end(BackupFailure(.unavailable, "\(address) broke off the stream\(reason)"))
        case let event as NIOHTTP2WindowUpdatedEvent:
            guard let size = event.inboundWindowSize else { return }
            if event.streamID == Self.streamID {
                window = size
            } else if event.streamID == .rootStream, !isOver,
                let increment = HTTP2Windows.increment(at: size, to: HTTP2Parameters.duplexConnectionWindowBytes)
            {
                write(.rootStream, .windowUpdate(windowSizeIncrement: increment))
            }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// Lets the server send as much more as its reader has taken.
    private func refill() {
        guard !isOver,
            let increment = HTTP2Windows.increment(
                at: window + body.unreadBytes, to: HTTP2Parameters.streamedWindowBytes)
        else { return }
        write(Self.streamID, .windowUpdate(windowSizeIncrement: increment))
        context?.flush()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Errors of the stream are reported here too; HTTP/2 has closed it.
        if error is any NIOHTTP2Error, !watch.hasSeenGoAway { return }
        end(
            error as? BackupFailure
                ?? BackupFailure(.unavailable, "the connection to \(address) failed", cause: error))
        context.close(promise: nil)
    }

    // MARK: Signs of life

    private func tick() {
        guard let context, !isOver else { return }
        let silence = NIODeadline.now() - lastSign
        if silence >= TimeAmount(options.keepalive * 2) {
            end(BackupFailure(.unavailable, "\(address) gives no sign of life"))
            context.close(promise: nil)
        } else if silence >= TimeAmount(options.keepalive), !asksForSign {
            asksForSign = true
            write(.rootStream, .ping(.init(), ack: false))
            context.flush()
        }
    }
}
