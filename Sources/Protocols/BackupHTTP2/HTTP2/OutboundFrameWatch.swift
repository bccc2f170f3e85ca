import NIOCore

/// Sits below HTTP/2 and follows the frames that go out, for two things that the library does not offer.
///
/// It tells when HTTP/2 has given the connection up: the library reports errors of a stream and of the
/// connection alike, and only for the latter writes GOAWAY. And it announces fewer streams than are borne:
/// the library ends the connection of a client that passes the announced number, where the original goes on.
final class OutboundFrameWatch: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    static let clientPrefaceBytes = 24
    private static let frameHeadBytes = 9
    private static let goAwayType: UInt8 = 7

    private static let settingsType: UInt8 = 4
    private static let maxStreamsSetting: UInt16 = 3

    private(set) var hasSeenGoAway = false
    /// The number of streams to announce instead of the one in the first SETTINGS; nil when that is done.
    private var announcedStreams: UInt32?
    /// Bytes that belong to no frame head: a client's preface, then the payloads.
    private var bytesToSkip: Int

    init(skipping bytes: Int = 0, announcing streams: Int? = nil) {
        bytesToSkip = bytes
        announcedStreams = streams.map { UInt32($0) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .byteBuffer(var buffer) = unwrapOutboundIn(data) else {
            return context.write(data, promise: promise)
        }
        if let streams = announcedStreams {
            announcedStreams = nil
            Self.announce(streams, in: &buffer)
        }
        follow(buffer)
        context.write(wrapOutboundOut(.byteBuffer(buffer)), promise: promise)
    }

    /// Changes the value in a SETTINGS frame: entries of two bytes for the name and four for the value.
    private static func announce(_ streams: UInt32, in buffer: inout ByteBuffer) {
        let start = buffer.readerIndex
        guard buffer.getInteger(at: start + 3, as: UInt8.self) == settingsType else { return }
        for entry in stride(from: start + frameHeadBytes, to: buffer.writerIndex - 5, by: 6)
        where buffer.getInteger(at: entry, as: UInt16.self) == maxStreamsSetting {
            buffer.setInteger(streams, at: entry + 2)
        }
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
