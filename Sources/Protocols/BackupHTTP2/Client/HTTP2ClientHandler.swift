import BackupFormats
import BackupProtocol
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOSSL

/// The client's end of an upgraded connection: many calls in flight, bodies a few at a time and in order.
final class HTTP2ClientHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// Bodies that are sent at once. More would only be more copies, and unfinished bodies at the server.
    private static let bodiesAtOnce = 4
    private static let pieceBytes = 512 * 1024
    /// Calls in flight while the server has not said how many it takes.
    private static let defaultStreams = 100
    private static let streamLimit = 1000
    /// Answers up to this announced length are gathered in one piece.
    private static let gatherLimit = SessionLimits.blobBytes + 4096

    private let watch: OutboundFrameWatch
    private let address: ServerAddress
    private let userAgent: String
    private let keepalive: Duration
    private var context: ChannelHandlerContext?

    private var waiting = CircularBuffer<ClientStream>()
    private var streams: [HTTP2StreamID: ClientStream] = [:]
    private var bodies = CircularBuffer<ClientStream>()
    private var sending = 0
    private var nextID = HTTP2StreamID(1)
    private var maxStreams = defaultStreams
    private var failure: BackupFailure?
    private var cause: (any Error)?
    private var lastSign = NIODeadline.now()
    private var asksForSign = false
    private var timer: RepeatedTask?

    init(watch: OutboundFrameWatch, address: ServerAddress, options: ConnectionOptions) {
        self.watch = watch
        self.address = address
        userAgent = options.userAgent
        keepalive = options.keepalive
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        write(HTTP2Windows.opening())
        context.flush()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let interval = TimeAmount(keepalive / 4)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            bound.value.tick()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(BackupFailure(.unavailable, "the connection to \(address) is over", cause: cause))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(BackupFailure(.unavailable, "the connection to \(address) is over", cause: cause))
        self.context = nil
    }

    private func end(_ failure: BackupFailure) {
        timer?.cancel()
        self.failure = self.failure ?? failure
        let open = Array(streams.values) + Array(waiting)
        streams = [:]
        waiting = []
        bodies = []
        for stream in open { stream.fail(self.failure ?? failure) }
    }

    private func write(_ frame: HTTP2Frame, promise: EventLoopPromise<Void>? = nil) {
        context?.write(wrapOutboundOut(frame), promise: promise)
    }

    // MARK: Sending

    func send(_ stream: ClientStream) {
        if let failure { return stream.fail(failure) }
        waiting.append(stream)
        startWaiting()
        context?.flush()
    }

    /// Ends a call that nobody waits for any more.
    func cancel(_ stream: ClientStream) {
        guard !stream.isDone else { return }
        stream.fail(BackupFailure(.cancelled, "the call \(stream.request.head.path) was cancelled"))
        if let id = stream.id {
            if streams[id] != nil {
                write(HTTP2Frame(streamID: id, payload: .rstStream(.cancel)))
                context?.flush()
            }
        } else {
            waiting.removeAll { $0 === stream }
        }
    }

    private func startWaiting() {
        while streams.count < maxStreams, failure == nil, let stream = waiting.popFirst() {
            let id = nextID
            nextID = HTTP2StreamID(Int(id) + 2)
            stream.id = id
            streams[id] = stream
            let fields = HPACKHeaders(stream.request, authority: address.description, userAgent: userAgent)
            let hasBody = !stream.request.body.isEmpty
            write(HTTP2Frame(streamID: id, payload: .headers(.init(headers: fields, endStream: !hasBody))))
            if hasBody { bodies.append(stream) }
        }
        startBodies()
    }

    private func startBodies() {
        while sending < Self.bodiesAtOnce, let stream = bodies.popFirst() {
            guard let id = stream.id, streams[id] === stream else { continue }
            sending += 1
            stream.isSending = true
            sendPiece(of: stream, id)
        }
    }

    private func sendPiece(of stream: ClientStream, _ id: HTTP2StreamID) {
        guard let context, streams[id] === stream else { return bodyEnded(stream) }
        let body = stream.request.body
        let start = stream.sentBytes
        let end = min(start + Self.pieceBytes, body.count)
        stream.sentBytes = end
        let isLast = end == body.count
        let written = context.eventLoop.makePromise(of: Void.self)
        let buffer = context.channel.allocator.buffer(bytes: body[start..<end])
        write(
            HTTP2Frame(streamID: id, payload: .data(.init(data: .byteBuffer(buffer), endStream: isLast))),
            promise: written)
        let bound = NIOLoopBound((self, stream), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { result in
            let (handler, stream) = bound.value
            if case .success = result { handler.noteSign() }
            if !isLast, case .success = result {
                handler.sendPiece(of: stream, id)
                handler.context?.flush()
            } else {
                handler.bodyEnded(stream)
            }
        }
    }

    private func bodyEnded(_ stream: ClientStream) {
        guard stream.isSending else { return }
        stream.isSending = false
        sending -= 1
        startBodies()
        context?.flush()
    }

    // MARK: Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        noteSign()
        switch frame.payload {
        case .settings(.settings(let settings)):
            for setting in settings where setting.parameter == .maxConcurrentStreams {
                maxStreams = min(max(1, setting.value), Self.streamLimit)
            }
            startWaiting()
        case .headers(let headers): headArrived(headers, on: frame.streamID)
        case .data(let data): dataArrived(data, on: frame.streamID)
        case .goAway(_, let code, _):
            failure = failure ?? BackupFailure(.unavailable, "\(address) ends the connection (\(code))")
            let unsent = Array(waiting)
            waiting = []
            for stream in unsent { stream.fail(failure ?? BackupFailure(.unavailable, "the connection is over")) }
        default: break
        }
    }

    private func headArrived(_ frame: HTTP2Frame.FramePayload.Headers, on id: HTTP2StreamID) {
        guard let stream = streams[id] else { return }
        if case .awaitingHead = stream.answer {
            guard let status = frame.headers.first(name: ":status").flatMap({ Int($0) }) else {
                return stream.fail(BackupFailure(.unavailable, "\(address) sent an answer without a status"))
            }
            if status < 200 { return }
            begin(stream, id, status: status, frame.headers, isWhole: frame.endStream)
        }
        if frame.endStream { finish(stream) }
    }

    private func begin(
        _ stream: ClientStream, _ id: HTTP2StreamID, status: Int, _ fields: HPACKHeaders, isWhole: Bool
    ) {
        let contentType = fields.first(name: "content-type")
        let length = isWhole ? 0 : fields.first(name: "content-length").flatMap { Int($0) }
        if let length, (0...Self.gatherLimit).contains(length) {
            var body: [UInt8] = []
            body.reserveCapacity(length)
            stream.answer = .gathering(status: status, contentType: contentType, body)
            return
        }
        let body = ReceivedBody()
        guard let loop = context?.eventLoop else { return }
        let bound = NIOLoopBound((self, stream), eventLoop: loop)
        body.observe {
            loop.execute { bound.value.0.refill(bound.value.1) }
        } onDropped: {
            loop.execute { bound.value.0.cancel(bound.value.1) }
        }
        stream.answer = .streaming(body)
        stream.promise.succeed(
            BackupResponse(status: status, contentType: contentType, body: .stream(body, length: length)))
    }

    private func dataArrived(_ frame: HTTP2Frame.FramePayload.Data, on id: HTTP2StreamID) {
        guard let stream = streams[id], case .byteBuffer(let buffer) = frame.data else { return }
        switch stream.answer {
        case .gathering(let status, let contentType, var body):
            // Out of the enum while it grows: two owners would mean a copy.
            stream.answer = .done
            buffer.withUnsafeReadableBytes { body.append(contentsOf: $0) }
            stream.answer = .gathering(status: status, contentType: contentType, body)
        case .streaming(let body): body.append(buffer)
        case .awaitingHead, .done: break
        }
        if frame.endStream { finish(stream) }
    }

    private func finish(_ stream: ClientStream) {
        switch stream.answer {
        case .gathering(let status, let contentType, let body):
            stream.promise.succeed(BackupResponse(status: status, contentType: contentType, body: .bytes(body)))
        case .streaming(let body): body.finish()
        case .awaitingHead: stream.promise.fail(BackupFailure(.unavailable, "\(address) sent no answer"))
        case .done: return
        }
        stream.answer = .done
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let event as StreamClosedEvent:
            guard let stream = streams.removeValue(forKey: event.streamID) else { return }
            stream.fail(
                failure
                    ?? BackupFailure(
                        .unavailable,
                        "\(address) broke off the call \(stream.request.head.path) (\(event.reason ?? .noError))"))
            startWaiting()
        case let event as NIOHTTP2WindowUpdatedEvent:
            guard let size = event.inboundWindowSize else { return }
            if event.streamID == .rootStream {
                guard let increment = HTTP2Windows.increment(at: size) else { return }
                write(HTTP2Frame(streamID: .rootStream, payload: .windowUpdate(windowSizeIncrement: increment)))
            } else if let stream = streams[event.streamID] {
                stream.window = size
                refill(stream)
            }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// Lets the server send as much more as its reader has taken.
    private func refill(_ stream: ClientStream) {
        guard let id = stream.id, streams[id] === stream, case .streaming(let body) = stream.answer,
            let increment = HTTP2Windows.increment(at: stream.window + body.unreadBytes)
        else { return }
        write(HTTP2Frame(streamID: id, payload: .windowUpdate(windowSizeIncrement: increment)))
        context?.flush()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Errors of single streams are reported here too; those streams have been closed.
        if error is any NIOHTTP2Error, !watch.hasSeenGoAway { return }
        cause = cause ?? error
        context.close(promise: nil)
    }

    // MARK: Signs of life

    private func noteSign() {
        lastSign = .now()
        asksForSign = false
    }

    private func tick() {
        guard let context, failure == nil else { return }
        let silence = NIODeadline.now() - lastSign
        if silence >= TimeAmount(keepalive * 2) {
            end(BackupFailure(.unavailable, "\(address) gives no sign of life"))
            context.close(promise: nil)
        } else if silence >= TimeAmount(keepalive), !asksForSign {
            asksForSign = true
            write(HTTP2Frame(streamID: .rootStream, payload: .ping(.init(), ack: false)))
            context.flush()
        }
    }
}
