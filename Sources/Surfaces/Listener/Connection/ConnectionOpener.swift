import BackupHTTP2
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import NIOTLS

/// Decides by first bytes what a connection is: TLS or plain HTTP, then HTTP/2 or HTTP/1.1.
///
/// ALPN is not asked: clients negotiate one thing and write another. Where there is a certificate, plain HTTP is sent to
/// `https`.
final class ConnectionOpener: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Stage {
        case silent
        case handshake
        case secured
        case done
    }

    static let http2Preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// First byte of a TLS record that holds a handshake.
    private static let tlsHandshakeRecord: UInt8 = 0x16

    private let surroundings: ConnectionSurroundings
    private var stage = Stage.silent
    private var received = ByteBuffer()
    private var deadline: Scheduled<Void>?

    init(_ surroundings: ConnectionSurroundings) { self.surroundings = surroundings }

    func handlerAdded(context: ChannelHandlerContext) { arm(surroundings.limits.silentTime, context: context) }

    func handlerRemoved(context: ChannelHandlerContext) { leaveStage() }

    func channelInactive(context: ChannelHandlerContext) {
        leaveStage()
        stage = .done
        context.fireChannelInactive()
    }

    /// What ends with the stage: its time limit, the place among the handshakes.
    private func leaveStage() {
        deadline?.cancel()
        deadline = nil
        if case .handshake = stage { surroundings.ledger.endHandshake() }
    }

    private func arm(_ limit: Duration, context: ChannelHandlerContext) {
        deadline?.cancel()
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: TimeAmount(limit)) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch stage {
        case .silent: firstBytes(bytes, context: context)
        case .handshake: break
        case .secured:
            if received.readableBytes == 0 { arm(surroundings.limits.headTime, context: context) }
            received.writeBuffer(&bytes)
            decideProtocol(context: context)
        case .done: context.fireChannelRead(data)
        }
    }

    private func firstBytes(_ bytes: ByteBuffer, context: ChannelHandlerContext) {
        guard let first = bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) else { return }
        let pipeline = context.pipeline
        guard let certificate = surroundings.certificate.withLockedValue({ $0 }) else {
            // TLS where none is spoken: nothing that it would understand can be said.
            if first == Self.tlsHandshakeRecord { return context.close(promise: nil) }
            stage = .secured
            return channelRead(context: context, data: NIOAny(bytes))
        }
        do {
            if first != Self.tlsHandshakeRecord {
                leaveStage()
                stage = .done
                try pipeline.syncOperations.addHandler(PlainRedirectHandler(limits: surroundings.limits))
                context.fireChannelRead(NIOAny(bytes))
                pipeline.syncOperations.removeHandler(context: context, promise: nil)
                return
            }
            guard surroundings.ledger.beginHandshake() else { return context.close(promise: nil) }
            stage = .handshake
            arm(surroundings.limits.handshakeTime, context: context)
            let tls = NIOSSLServerHandler(context: certificate.context)
            try pipeline.syncOperations.addHandler(tls, position: .first)
            pipeline.fireChannelRead(bytes)
            pipeline.fireChannelReadComplete()
        } catch {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            leaveStage()
            stage = .secured
            arm(surroundings.limits.silentTime, context: context)
        case is ChannelShouldQuiesceEvent: context.close(promise: nil)
        case is ConnectionMustCloseEvent: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A failed handshake, a cut: nobody is there to be told.
        context.close(promise: nil)
    }

    private func decideProtocol(context: ChannelHandlerContext) {
        let preface = Self.http2Preface
        let count = min(received.readableBytes, preface.count)
        let isHTTP2 = received.readableBytesView.prefix(count).elementsEqual(preface.prefix(count))
        if isHTTP2, count < preface.count { return }
        leaveStage()
        stage = .done
        let channel = context.channel
        do {
            let gate = try ReadGate.add(to: channel, budget: surroundings.budget)
            if isHTTP2 {
                try addHTTP2(to: channel, gate: gate)
            } else {
                try channel.pipeline.syncOperations.addHandler(HTTP1ServerHandler(surroundings, gate: gate))
            }
            context.fireChannelRead(NIOAny(received))
            context.fireChannelReadComplete()
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }

    private func addHTTP2(to channel: any Channel, gate: ReadGate) throws {
        let ledger = surroundings.ledger
        let receiver = NativeReceiver(surroundings, channel: channel)
        ledger.began()
        try HTTP2ServerHandler.add(
            to: channel, receiver: receiver, peer: .stranger, gate: gate, timers: surroundings.timers
        ) { ledger.ended() }
    }
}

extension Channel {
    /// The other side as text, for logs: `127.0.0.1:50312`, `[::1]:50312`.
    var peerText: String {
        guard let address = remoteAddress, let host = address.ipAddress, let port = address.port else { return "" }
        let mapped = "::ffff:"
        let plain = host.hasPrefix(mapped) && host.contains(".") ? String(host.dropFirst(mapped.count)) : host
        return ServerAddress(host: plain, port: port).description
    }
}
