import NIOCore

/// Sits below HTTP/2 and tells when it has given the connection up.
///
/// The library reports errors of a stream and of the connection alike; only for the latter it writes
/// GOAWAY. So this handler follows the frames that go out.
final class OutboundFrameWatch: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    static let clientPrefaceBytes = 24
    private static let frameHeadBytes = 9
    private static let goAwayType: UInt8 = 7

    private(set) var hasSeenGoAway = false
    /// Bytes that belong to no frame head: a client's preface, then the payloads.
    private var bytesToSkip: Int

    init(skipping bytes: Int = 0) { bytesToSkip = bytes }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .byteBuffer(let buffer) = unwrapOutboundIn(data) { follow(buffer) }
        context.write(data, promise: promise)
    }

    private func follow(_ buffer: ByteBuffer) {
        var index = buffer.readerIndex
        while index < buffer.writerIndex {
            let available = buffer.writerIndex - index
            if bytesToSkip > 0 {
                let step = min(bytesToSkip, available)
                bytesToSkip -= step
                index += step
            } else {
                guard available >= Self.frameHeadBytes, let head = buffer.getBytes(at: index, length: 4) else { return }
                bytesToSkip = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
                if head[3] == Self.goAwayType { hasSeenGoAway = true }
                index += Self.frameHeadBytes
            }
        }
    }
}
