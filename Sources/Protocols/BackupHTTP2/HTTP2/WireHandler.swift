import NIOCore

/// Sits between TLS and HTTP/2: holds back reading while the body budget says so, and tells when
/// HTTP/2 has given the connection up.
///
/// The library reports errors of a stream and of the connection alike; only for the latter it writes
/// GOAWAY. So this handler follows the frames that go out.
final class WireHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// How often a held-back connection asks again, besides being woken.
    private static let pollInterval = TimeAmount.milliseconds(100)
    private static let frameHeadBytes = 9
    private static let goAwayType: UInt8 = 7

    private let share: BodyBudget.Share?
    private var heldRead = false
    private var payloadBytesLeft = 0
    private(set) var hasSentGoAway = false
    /// Bytes of a client's preface, which are no frame.
    private var prefaceBytesLeft: Int

    init(share: BodyBudget.Share?, prefaceBytes: Int = 0) {
        self.share = share
        prefaceBytesLeft = prefaceBytes
    }

    var isHeldBack: Bool { heldRead }

    func handlerAdded(context: ChannelHandlerContext) {
        guard let share else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let loop = context.eventLoop
        share.setWake { loop.execute { bound.value.0.retry(context: bound.value.1) } }
    }

    func handlerRemoved(context: ChannelHandlerContext) { share?.leave() }

    func read(context: ChannelHandlerContext) {
        guard let share, !share.mayRead() else { return context.read() }
        guard !heldRead else { return }
        heldRead = true
        poll(context: context)
    }

    private func poll(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.pollInterval) {
            let (handler, context) = bound.value
            handler.retry(context: context)
            if handler.heldRead, context.channel.isActive { handler.poll(context: context) }
        }
    }

    private func retry(context: ChannelHandlerContext) {
        guard heldRead, context.channel.isActive, share?.mayRead() ?? true else { return }
        heldRead = false
        context.read()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .byteBuffer(let buffer) = unwrapOutboundIn(data) { follow(buffer) }
        context.write(data, promise: promise)
    }

    private func follow(_ buffer: ByteBuffer) {
        var index = buffer.readerIndex
        while index < buffer.writerIndex {
            let available = buffer.writerIndex - index
            if prefaceBytesLeft > 0 {
                let step = min(prefaceBytesLeft, available)
                prefaceBytesLeft -= step
                index += step
            } else if payloadBytesLeft > 0 {
                let step = min(payloadBytesLeft, available)
                payloadBytesLeft -= step
                index += step
            } else {
                guard available >= Self.frameHeadBytes, let head = buffer.getBytes(at: index, length: 4) else { return }
                payloadBytesLeft = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
                if head[3] == Self.goAwayType { hasSentGoAway = true }
                index += Self.frameHeadBytes
            }
        }
    }
}
