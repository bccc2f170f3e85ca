import BackupFormats
import BackupProtocol
import NIOCore
import NIOHPACK
import NIOHTTP2

extension HTTP2ServerHandler {
    /// Most bytes asked of a streamed body at once.
    private static let sourcePieceBytes = 256 * 1024

    func respond(
        _ answer: StreamAnswer, to stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext
    ) {
        guard !stream.isClosed, !stream.hasAnswer, context.channel.isActive else { return dismiss(answer) }
        stream.hasAnswer = true
        if answer.isFeed { stream.isFeed = true }
        var fields = HPACKHeaders([(":status", String(answer.status))])
        for (name, value) in answer.headers { fields.add(name: name, value: value) }
        let length: Int? =
            switch answer.body {
            case .bytes(let bytes): bytes.count
            case .stream(_, let length): length
            }
        let mayHaveBody = answer.status != 204 && answer.status != 304
        if let length, mayHaveBody { fields.add(name: "content-length", value: String(length)) }
        let hasBody = mayHaveBody && length != 0 && stream.head.method != "HEAD"
        let written = hasBody ? nil : endPromise(of: stream, id, context: context)
        write(
            HTTP2Frame(streamID: id, payload: .headers(.init(headers: fields, endStream: !hasBody))), promise: written,
            context: context)
        if hasBody {
            switch answer.body {
            case .bytes(let bytes): send(bytes, hold: answer.hold, from: 0, to: stream, id, context: context)
            case .stream(let source, _): send(source, to: stream, id, context: context)
            }
        }
        context.flush()
    }

    /// Nobody is there any more for an answer: what would have made its body is told by a cancelled read.
    private func dismiss(_ answer: StreamAnswer) {
        guard answer.isFeed, case .stream(let source, _) = answer.body else { return }
        Task { _ = try? await source.read(upTo: 1) }.cancel()
    }

    private func endPromise(
        of stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext
    ) -> EventLoopPromise<Void> {
        let promise = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound((self, stream, context), eventLoop: context.eventLoop)
        promise.futureResult.whenSuccess { bound.value.0.answerEnded(bound.value.1, id, context: bound.value.2) }
        return promise
    }

    /// Sends the bytes from `offset` on, a piece at a time: a slow client then costs one copied piece, not two bodies.
    ///
    /// - Parameter hold: Let go of when the last piece is with the kernel, or when the stream is over.
    private func send(
        _ bytes: [UInt8], hold: (any AnyObject & Sendable)?, from offset: Int, to stream: ServerStream,
        _ id: HTTP2StreamID, context: ChannelHandlerContext
    ) {
        guard !stream.isClosed else { return }
        let end = min(offset + HTTP2Parameters.sendPieceBytes, bytes.count)
        let isLast = end == bytes.count
        let buffer = context.channel.allocator.buffer(bytes: bytes[offset..<end])
        let written = context.eventLoop.makePromise(of: Void.self)
        if !isLast {
            let bound = NIOLoopBound((self, stream, context), eventLoop: context.eventLoop)
            written.futureResult.whenSuccess {
                let (handler, stream, context) = bound.value
                handler.noteSign()
                handler.send(bytes, hold: hold, from: end, to: stream, id, context: context)
                context.flush()
            }
        } else {
            let bound = NIOLoopBound((self, stream, context), eventLoop: context.eventLoop)
            written.futureResult.whenSuccess {
                let (handler, stream, context) = bound.value
                withExtendedLifetime(hold) { handler.noteSign() }
                handler.answerEnded(stream, id, context: context)
            }
        }
        let data = HTTP2Frame.FramePayload.Data(data: .byteBuffer(buffer), endStream: isLast)
        write(HTTP2Frame(streamID: id, payload: .data(data)), promise: written, context: context)
    }

    /// Sends a body while it is made: the next piece is read while the one before is on its way.
    private func send(
        _ source: any ByteSource, to stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext
    ) {
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, stream, context), eventLoop: loop)
        let sendPiece: @Sendable ([UInt8]) -> EventLoopFuture<Void> = { piece in
            loop.flatSubmit { bound.value.0.send(piece: piece, to: bound.value.1, id, context: bound.value.2) }
        }
        let end: @Sendable () -> Void = {
            loop.execute { bound.value.0.endBody(of: bound.value.1, id, context: bound.value.2) }
        }
        let fail: @Sendable () -> Void = {
            loop.execute { bound.value.0.reset(bound.value.1, id, context: bound.value.2) }
        }
        stream.sender = Self.startPump(source, send: sendPiece, end: end, fail: fail)
    }

    private static func startPump(
        _ source: any ByteSource, send: @escaping @Sendable ([UInt8]) -> EventLoopFuture<Void>,
        end: @escaping @Sendable () -> Void, fail: @escaping @Sendable () -> Void
    ) -> Task<Void, Never> {
        Task {
            do {
                try await pump(source, send)
                end()
            } catch {
                fail()
            }
        }
    }

    private static func pump(
        _ source: any ByteSource, _ sendPiece: @Sendable ([UInt8]) -> EventLoopFuture<Void>
    ) async throws {
        var onItsWay: EventLoopFuture<Void>?
        while let piece = try await source.read(upTo: sourcePieceBytes) {
            try await onItsWay?.get()
            onItsWay = sendPiece(piece)
        }
        try await onItsWay?.get()
    }

    private func send(
        piece: [UInt8], to stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        guard !stream.isClosed else { return context.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
        let written = context.eventLoop.makePromise(of: Void.self)
        let buffer = context.channel.allocator.buffer(bytes: piece)
        write(
            HTTP2Frame(streamID: id, payload: .data(.init(data: .byteBuffer(buffer)))), promise: written,
            context: context)
        context.flush()
        stream.stalledSince = stream.stalledSince ?? .now()
        let bound = NIOLoopBound((self, stream), eventLoop: context.eventLoop)
        written.futureResult.whenSuccess {
            let (handler, stream) = bound.value
            stream.stalledSince = nil
            handler.noteSign()
        }
        return written.futureResult
    }

    private func endBody(of stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        guard !stream.isClosed else { return }
        let empty = context.channel.allocator.buffer(capacity: 0)
        let data = HTTP2Frame.FramePayload.Data(data: .byteBuffer(empty), endStream: true)
        let written = endPromise(of: stream, id, context: context)
        write(HTTP2Frame(streamID: id, payload: .data(data)), promise: written, context: context)
        context.flush()
    }

    /// A body that cannot be made to its end: the client must not take the part for the whole.
    private func reset(_ stream: ServerStream, _ id: HTTP2StreamID, context: ChannelHandlerContext) {
        guard !stream.isClosed, context.channel.isActive else { return }
        write(HTTP2Frame(streamID: id, payload: .rstStream(.internalError)), context: context)
        context.flush()
    }
}
