import NIOCore

/// Slows a connection down to its rates; sits below TLS, so that all bytes count.
final class RateLimitHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// A bucket that may go below zero: what is on its way is not cut, the next one waits longer.
    private struct Bucket {
        let limit: RateLimit
        private var tokens: Int
        private var filled = NIODeadline.now()

        init(_ limit: RateLimit) {
            self.limit = limit
            tokens = limit.burstBytes
        }

        mutating func take(_ bytes: Int) { tokens -= bytes }

        /// How long to wait until a byte may pass; nil for not at all.
        mutating func delay() -> TimeAmount? {
            let now = NIODeadline.now()
            let gained = Double((now - filled).nanoseconds) / 1e9 * Double(limit.bytesPerSecond)
            if gained >= 1 {
                tokens = min(limit.burstBytes, tokens + Int(min(gained, 1e15)))
                filled = now
            }
            guard tokens <= 0 else { return nil }
            return .nanoseconds(Int64(Double(1 - tokens) / Double(limit.bytesPerSecond) * 1e9) + 1_000_000)
        }
    }

    private static let inboundOnly = RateLimit(bytesPerSecond: .max / 4, burstBytes: .max / 4)

    private var outbound: Bucket
    private var inbound: Bucket
    private var queue = MarkedCircularBuffer<(IOData, EventLoopPromise<Void>?)>(initialCapacity: 16)
    private var isPumpScheduled = false
    private var isReadScheduled = false

    /// - Parameters:
    ///   - send: nil for no limit, as `receive`.
    init(send: RateLimit?, receive: RateLimit?) {
        outbound = Bucket(send ?? Self.inboundOnly)
        inbound = Bucket(receive ?? Self.inboundOnly)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        queue.append((unwrapOutboundIn(data), promise))
    }

    func flush(context: ChannelHandlerContext) {
        queue.mark()
        pump(context: context)
    }

    private func pump(context: ChannelHandlerContext) {
        var hasWritten = false
        while queue.hasMark {
            if let delay = outbound.delay() {
                schedulePump(in: delay, context: context)
                break
            }
            let (data, promise) = queue.removeFirst()
            outbound.take(data.readableBytes)
            context.write(wrapOutboundOut(data), promise: promise)
            hasWritten = true
        }
        if hasWritten { context.flush() }
    }

    private func schedulePump(in delay: TimeAmount, context: ChannelHandlerContext) {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: delay) {
            let (handler, context) = bound.value
            handler.isPumpScheduled = false
            handler.pump(context: context)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        while let (data, promise) = queue.popFirst() { context.write(wrapOutboundOut(data), promise: promise) }
        context.flush()
        context.close(mode: mode, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        while let (_, promise) = queue.popFirst() { promise?.fail(ChannelError.ioOnClosedChannel) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        inbound.take(unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
    }

    func read(context: ChannelHandlerContext) {
        guard !isReadScheduled else { return }
        guard let delay = inbound.delay() else { return context.read() }
        isReadScheduled = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: delay) {
            let (handler, context) = bound.value
            handler.isReadScheduled = false
            if context.channel.isActive { handler.read(context: context) }
        }
    }
}
