import BackupFormats
import NIOCore
import NIOTLS

/// Waits until a connection may speak HTTP/2, and looks at the first bytes that come: whoever does not know HTTP/2
/// answers with something else.
final class HTTP2Agreement: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// First byte of a TLS record that holds an alert.
    private static let tlsAlert: UInt8 = 0x15
    private static let http1 = Array("HTTP/".utf8)
    /// Longest part of an answer that is shown.
    private static let shownBytes = 100

    private let address: ServerAddress
    private let isSecure: Bool
    private let ready: EventLoopPromise<Void>
    private let begin: (any Channel) throws -> Void

    /// - Parameters:
    ///   - ready: Kept when HTTP/2 is spoken, broken when it may not be.
    ///   - begin: Puts HTTP/2 on the channel, before anything can come.
    init(
        address: ServerAddress, isSecure: Bool, ready: EventLoopPromise<Void>,
        begin: @escaping (any Channel) throws -> Void
    ) {
        self.address = address
        self.isSecure = isSecure
        self.ready = ready
        self.begin = begin
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        if !isSecure { agreed(context: context) }
    }

    private func agreed(context: ChannelHandlerContext) {
        do {
            try begin(context.channel)
            ready.succeed(())
        } catch {
            ready.fail(error)
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent {
            if negotiated == "h2" { agreed(context: context) } else { refuse("agrees on no HTTP/2", context: context) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        let view = bytes.readableBytesView
        if view.starts(with: Self.http1) {
            let line = view.prefix(Self.shownBytes).prefix { $0 >= 0x20 && $0 < 0x7f }
            return refuse("answers '\(String(decoding: line, as: UTF8.self))' to HTTP/2", context: context)
        }
        if !isSecure, view.first == Self.tlsAlert { return refuse("speaks TLS", context: context) }
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func refuse(_ what: String, context: ChannelHandlerContext) {
        let failure = BackupFailure(.unsupported, "\(address) \(what)")
        ready.fail(failure)
        context.fireErrorCaught(failure)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        ready.fail(BackupFailure(.unavailable, "\(address) closes connections at once"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        ready.fail(error)
        context.fireErrorCaught(error)
    }

    func handlerRemoved(context: ChannelHandlerContext) { ready.fail(ChannelError.ioOnClosedChannel) }
}
