package import NIOCore

/// Sits above TLS and holds back reading while the body budget says so.
package final class ReadGate: ChannelOutboundHandler {
    package typealias OutboundIn = IOData
    package typealias OutboundOut = IOData

    /// How often a held-back connection asks again, besides being woken.
    private static let pollInterval = TimeAmount.milliseconds(100)

    package let share: BodyBudget.Share
    private var heldRead = false

    private init(share: BodyBudget.Share) { self.share = share }

    /// Puts a gate at the end of the pipeline; on the event loop. A connection has one, whatever it speaks.
    package static func add(to channel: any Channel, budget: BodyBudget) throws -> ReadGate {
        let gate = ReadGate(
            share: budget.join { channel.pipeline.fireUserInboundEventTriggered(ConnectionHoldsTooMuchEvent()) })
        try channel.pipeline.syncOperations.addHandler(gate)
        return gate
    }

    /// Whether the connection is not read from now. Who is not read from cannot give a sign of life.
    package var isClosed: Bool { heldRead }

    package func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let loop = context.eventLoop
        share.setWake { loop.execute { bound.value.0.retry(context: bound.value.1) } }
    }

    package func handlerRemoved(context: ChannelHandlerContext) { share.leave() }

    package func read(context: ChannelHandlerContext) {
        if share.mayRead() { return context.read() }
        guard !heldRead else { return }
        heldRead = true
        poll(context: context)
    }

    private func poll(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.pollInterval) {
            let (gate, context) = bound.value
            gate.retry(context: context)
            if gate.heldRead, context.channel.isActive { gate.poll(context: context) }
        }
    }

    private func retry(context: ChannelHandlerContext) {
        guard heldRead, context.channel.isActive, share.mayRead() else { return }
        heldRead = false
        context.read()
    }
}

/// The body budget wants this connection to end.
package struct ConnectionHoldsTooMuchEvent: Sendable {}
