import BackupFormats
import NIOCore
import NIOHTTP2

/// Requests whose bodies are read while they come, beside answers that go out meanwhile.
extension HTTP2ServerHandler {
    /// Hands a request over whose body has not come yet.
    func begin(
        _ stream: ServerStream, _ id: HTTP2StreamID, work: @escaping @Sendable (any ByteSource) async -> StreamAnswer,
        context: ChannelHandlerContext
    ) {
        let body = ReceivedBody(isCompact: true)
        stream.treatment = .stream(body)
        stream.isFeed = true
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, stream, context), eventLoop: loop)
        body.observe {
            loop.execute { bound.value.0.consumed(bound.value.1, id, context: bound.value.2) }
        } onDropped: {
        }
        stream.worker = Task {
            var answer = await work(body)
            answer.isFeed = true
            loop.execute { [answer] in
                let (handler, stream, context) = bound.value
                stream.worker = nil
                handler.respond(answer, to: stream, id, context: context)
            }
        }
    }

    func append(_ piece: ByteBuffer, to body: ReceivedBody, of stream: ServerStream) {
        guard piece.readableBytes > 0 else { return }
        stream.waitingBytes += piece.readableBytes
        share.take(piece.readableBytes)
        body.append(piece)
    }

    /// The reader has taken bytes: the client may send as many more.
    private func consumed(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        guard case .stream(let body) = stream.treatment, !stream.isClosed else { return }
        let unread = body.unreadBytes
        share.giveUnfinished(stream.waitingBytes - unread)
        stream.waitingBytes = unread
        guard !stream.isComplete, context.channel.isActive,
            let increment = HTTP2Windows.increment(
                at: stream.window + unread, to: HTTP2Parameters.streamedWindowBytes)
        else { return }
        write(HTTP2Frame(streamID: id, payload: .windowUpdate(windowSizeIncrement: increment)), context: context)
        context.flush()
    }

    /// What a streamed request leaves when its stream is over.
    func abandon(_ stream: ServerStream, reason: String) {
        guard case .stream(let body) = stream.treatment else { return }
        stream.treatment = .drop
        if !stream.isComplete { body.fail(BackupFailure(.unavailable, reason)) }
        stream.worker?.cancel()
        share.giveUnfinished(stream.waitingBytes)
        stream.waitingBytes = 0
    }

    /// An answer is complete and its request is not: nothing more is wanted of it. (RFC 9113 8.1.)
    func answerEnded(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        guard case .stream = stream.treatment, !stream.isClosed, context.channel.isActive else { return }
        write(HTTP2Frame(streamID: id, payload: .rstStream(.noError)), context: context)
        context.flush()
    }

    /// A client that takes nothing would hold what makes the answer for ever.
    func cutStalledFeeds(context: ChannelHandlerContext) {
        for (id, stream) in streams where stream.isFeed {
            guard let since = stream.stalledSince, .now() - since >= TimeAmount(timers.feedPatience) else { continue }
            write(HTTP2Frame(streamID: id, payload: .rstStream(.cancel)), context: context)
        }
        context.flush()
    }

    // MARK: Stopping

    /// Asks what would never end by itself to end: requests see their bodies break off, and have a moment to say goodbye.
    func endFeeds(context: ChannelHandlerContext) {
        var isWaiting = false
        for stream in streams.values where stream.isFeed {
            isWaiting = true
            if case .stream(let body) = stream.treatment { body.fail(BackupFailure(.unavailable, "the server stops")) }
        }
        guard isWaiting else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: TimeAmount(timers.feedGrace)) {
            bound.value.0.cutFeeds(context: bound.value.1)
        }
    }

    private func cutFeeds(context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        for (id, stream) in streams where stream.isFeed {
            write(HTTP2Frame(streamID: id, payload: .rstStream(.cancel)), context: context)
        }
        context.flush()
    }
}
