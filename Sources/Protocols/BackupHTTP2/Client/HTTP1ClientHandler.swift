import BackupFormats
import BackupProtocol
import NIOCore
import NIOSSL
import NIOTLS

/// The client's end of an HTTP/1.1 connection: the handshake, one request at a time, the upgrade.
final class HTTP1ClientHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What a request leads to.
    enum Outcome: Sendable {
        case answer(HTTPResponse)
        case transport(HTTP2Transport)
    }

    /// A request whose answer is awaited.
    private struct Exchange {
        let method: String
        let asksUpgrade: Bool
        /// Whether the time limit covers the head only.
        let isStreamed: Bool
        let promise: EventLoopPromise<Outcome>
        let deadline: Scheduled<Void>
    }

    private enum Stage {
        case handshake
        case idle
        case head(Exchange)
        case body(Exchange, HTTP1Body, ReceivedBody, keepsAlive: Bool)
        case upgraded
        case over
    }

    /// Unread bytes of an answer above which the connection is not read from.
    private static let unreadLimit = 1024 * 1024

    private let address: ServerAddress
    private let options: ConnectionOptions
    private let ready: EventLoopPromise<Void>
    private var stage = Stage.handshake
    private var received = ByteBuffer()
    private var heldRead = false
    private var sawTLSClose = false
    private var context: ChannelHandlerContext?

    /// - Parameter ready: Kept when the handshake is done, broken when it fails.
    init(address: ServerAddress, options: ConnectionOptions, ready: EventLoopPromise<Void>) {
        self.address = address
        self.options = options
        self.ready = ready
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        ready.fail(ChannelError.ioOnClosedChannel)
        self.context = nil
    }

    var isIdle: Bool { if case .idle = stage { context?.channel.isActive ?? false } else { false } }

    // MARK: Sending

    func send(
        _ bytes: ByteBuffer, method: String, asksUpgrade: Bool, isStreamed: Bool, promise: EventLoopPromise<Outcome>
    ) {
        guard isIdle, let context else {
            return promise.fail(BackupFailure(.unavailable, "the connection to \(address) is over"))
        }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let limit = options.requestTimeout
        let deadline = context.eventLoop.scheduleTask(in: TimeAmount(limit)) {
            bound.value.end(BackupFailure(.unavailable, "\(bound.value.address) did not answer within \(limit)"))
        }
        stage = .head(
            Exchange(
                method: method, asksUpgrade: asksUpgrade, isStreamed: isStreamed, promise: promise, deadline: deadline))
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    // MARK: Receiving

    func read(context: ChannelHandlerContext) {
        if case .body(_, _, let body, _) = stage, body.unreadBytes >= Self.unreadLimit {
            heldRead = true
        } else {
            context.read()
        }
    }

    private func resumeReading() {
        guard heldRead else { return }
        if case .body(_, _, let body, _) = stage, body.unreadBytes >= Self.unreadLimit { return }
        heldRead = false
        context?.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .upgraded = stage { return context.fireChannelRead(data) }
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        do {
            while try parseStep(context: context) {}
            received.discardReadBytes()
        } catch {
            end(BackupFailure(.unavailable, "\(address) sent no proper answer", cause: error))
        }
    }

    private func parseStep(context: ChannelHandlerContext) throws -> Bool {
        switch stage {
        case .handshake, .upgraded: return false
        case .idle, .over:
            received.clear()
            return false
        case .head(let exchange):
            guard let head = try HTTP1Head.take(from: &received) else { return false }
            let response = try HTTP1ResponseHead(head)
            if response.status == 101 {
                guard exchange.asksUpgrade else { throw HTTP1Error.malformed("an upgrade that nobody asked for") }
                try upgrade(exchange, context: context)
                return false
            }
            if response.status >= 200 { try begin(response, exchange, context: context) }
            return true
        case .body(let exchange, var reader, let body, let keepsAlive):
            if let piece = try reader.take(from: &received) {
                body.append(piece)
                stage = .body(exchange, reader, body, keepsAlive: keepsAlive)
                return true
            }
            stage = .body(exchange, reader, body, keepsAlive: keepsAlive)
            guard reader.hasEnded else { return false }
            finish(exchange, body, keepsAlive: keepsAlive)
            return false
        }
    }

    private func begin(_ response: HTTP1ResponseHead, _ exchange: Exchange, context: ChannelHandlerContext) throws {
        let reader = try HTTP1Body(of: response, method: exchange.method)
        let keepsAlive =
            !reader.lastsUntilClose && !response.fields.header("connection", holds: "close") && !response.isVersion10
        let body = ReceivedBody()
        let loop = context.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        let channel = context.channel
        body.observe {
            loop.execute { bound.value.resumeReading() }
        } onDropped: {
            channel.close(promise: nil)
        }
        if exchange.isStreamed { exchange.deadline.cancel() }
        stage = .body(exchange, reader, body, keepsAlive: keepsAlive)
        let length = response.fields.header("content-length").flatMap { Int($0) }
        exchange.promise.succeed(
            .answer(
                HTTPResponse(
                    status: response.status, headers: response.fields.headers, body: .stream(body, length: length))))
    }

    private func finish(_ exchange: Exchange, _ body: ReceivedBody, keepsAlive: Bool) {
        exchange.deadline.cancel()
        if keepsAlive {
            stage = .idle
        } else {
            stage = .over
            context?.close(promise: nil)
        }
        body.finish()
        if heldRead {
            heldRead = false
            context?.read()
        }
    }

    private func upgrade(_ exchange: Exchange, context: ChannelHandlerContext) throws {
        exchange.deadline.cancel()
        stage = .upgraded
        let channel = context.channel
        let watch = OutboundFrameWatch(skipping: OutboundFrameWatch.clientPrefaceBytes)
        let handler = HTTP2ClientHandler(watch: watch, address: address, options: options)
        try channel.pipeline.syncOperations.addHandlers([watch, HTTP2Parameters.clientHandler(), handler])
        exchange.promise.succeed(
            .transport(HTTP2Transport(channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))))
        if received.readableBytes > 0 {
            context.fireChannelRead(NIOAny(received))
            context.fireChannelReadComplete()
        }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    // MARK: Ending

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            if case .handshake = stage { stage = .idle }
            ready.succeed(())
        case TLSUserEvent.shutdownCompleted: sawTLSClose = true
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .body(let exchange, let reader, let body, _) = stage, reader.lastsUntilClose, sawTLSClose {
            exchange.deadline.cancel()
            stage = .over
            body.finish()
        } else {
            end(BackupFailure(.unavailable, "the connection to \(address) was lost before the answer was complete"))
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .upgraded = stage { return context.fireErrorCaught(error) }
        ready.fail(error)
        if case .body(_, let reader, _, _) = stage, reader.lastsUntilClose { return context.close(promise: nil) }
        end(BackupFailure(.unavailable, "the connection to \(address) failed", cause: error))
    }

    private func end(_ failure: BackupFailure) {
        let before = stage
        if case .upgraded = before { return }
        stage = .over
        ready.fail(failure)
        switch before {
        case .head(let exchange):
            exchange.deadline.cancel()
            exchange.promise.fail(failure)
        case .body(let exchange, _, let body, _):
            exchange.deadline.cancel()
            body.fail(failure)
        case .handshake, .idle, .upgraded, .over: break
        }
        context?.close(promise: nil)
    }
}
