import BackupHTTP2
import Glibc
import NIOCore
import NIOHPACK
import NIOPosix
import NIOSSL
import NIOTLS

/// A client that sends exactly the bytes that it is told to, over TLS or plain.
final class RawClient: Sendable {
    let channel: any Channel
    private let inbox: AsyncThrowingStream<[UInt8], any Error>
    private let reader: NIOLoopBoundBox<[UInt8]>

    struct TimedOut: Error {}

    private final class Inbox: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let continuation: AsyncThrowingStream<[UInt8], any Error>.Continuation
        let handshake: EventLoopPromise<String?>
        init(
            _ continuation: AsyncThrowingStream<[UInt8], any Error>.Continuation, _ handshake: EventLoopPromise<String?>
        ) {
            self.continuation = continuation
            self.handshake = handshake
        }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(Array(unwrapInboundIn(data).readableBytesView))
        }
        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent { handshake.succeed(negotiated) }
        }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { handshake.fail(error) }
        func channelInactive(context: ChannelHandlerContext) {
            handshake.fail(ChannelError.eof)
            continuation.finish()
        }
    }

    /// - Parameter alpn: nil for plain TCP.
    static func connect(
        to address: ServerAddress, alpn: [String]? = [], tls: TLSVersion? = nil
    ) async throws -> (client: RawClient, negotiated: String?) {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: [UInt8].self)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let handshake = loop.makePromise(of: String?.self)
        let channel = try await ClientBootstrap(group: loop).connect(host: address.host, port: address.port) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                if let alpn {
                    var configuration = TLSConfiguration.makeClientConfiguration()
                    configuration.certificateVerification = .none
                    configuration.applicationProtocols = alpn
                    if let tls {
                        configuration.minimumTLSVersion = tls
                        configuration.maximumTLSVersion = tls
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: nil))
                } else {
                    handshake.succeed(nil)
                }
                try channel.pipeline.syncOperations.addHandler(Inbox(continuation, handshake))
                return channel
            }
        }
        let negotiated = try await handshake.futureResult.get()
        return (RawClient(channel: channel, inbox: stream), negotiated)
    }

    private init(channel: any Channel, inbox: AsyncThrowingStream<[UInt8], any Error>) {
        self.channel = channel
        self.inbox = inbox
        reader = NIOLoopBoundBox.makeBoxSendingValue([], eventLoop: channel.eventLoop)
    }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    func send(_ text: String, pieces: Int? = nil) async throws {
        let bytes = Array(text.utf8)
        guard let pieces else { return try await send(bytes) }
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try await send(Array(bytes[start..<min(start + pieces, bytes.count)]))
        }
    }

    /// Reads until `isEnough` says so or the connection ends; at most a minute, so that a busy machine does not matter.
    func read(until isEnough: @escaping @Sendable ([UInt8]) -> Bool) async throws -> [UInt8] {
        try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
            group.addTask { [inbox] in
                var bytes: [UInt8] = []
                for try await piece in inbox {
                    bytes += piece
                    if isEnough(bytes) { break }
                }
                return bytes
            }
            group.addTask {
                try await Task.sleep(for: .seconds(60))
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            guard let first else { throw TimedOut() }
            return first
        }
    }

    func text(until mark: String) async throws -> String {
        String(decoding: try await read { String(decoding: $0, as: UTF8.self).contains(mark) }, as: UTF8.self)
    }

    /// Reads to the end of the connection.
    func rest() async throws -> String { String(decoding: try await read { _ in false }, as: UTF8.self) }

    /// Ends the connection without a TLS close; with a reset where asked.
    func cut(reset: Bool = false) async throws {
        if reset {
            try await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        let channel = channel
        try await channel.eventLoop.flatSubmit {
            do {
                let tls = try channel.pipeline.syncOperations.context(handlerType: NIOSSLClientHandler.self)
                let promise = channel.eventLoop.makePromise(of: Void.self)
                tls.close(mode: .all, promise: promise)
                return promise.futureResult
            } catch {
                return channel.eventLoop.makeFailedFuture(error)
            }
        }.get()
    }

    func close() async throws { try await channel.close() }
}

/// Frames of HTTP/2, made by hand.
enum RawFrame {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static let settings = frame(type: 4, flags: 0, stream: 0, [])

    static func frame(type: UInt8, flags: UInt8, stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16 & 0xff), UInt8(count >> 8 & 0xff), UInt8(count & 0xff), type, flags]
            + [UInt8(stream >> 24), UInt8(stream >> 16 & 0xff), UInt8(stream >> 8 & 0xff), UInt8(stream & 0xff)]
            + payload
    }

    /// A request's head without compression state.
    static func headers(stream: UInt32, _ fields: [(String, String)], endStream: Bool) -> [UInt8] {
        var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
        var buffer = ByteBuffer()
        try? encoder.encode(headers: HPACKHeaders(fields.map { ($0.0, $0.1) }), to: &buffer)
        return frame(type: 1, flags: 4 | (endStream ? 1 : 0), stream: stream, Array(buffer.readableBytesView))
    }

    static func get(stream: UInt32, _ path: String) -> [UInt8] {
        headers(
            stream: stream,
            [(":method", "GET"), (":scheme", "https"), (":authority", "localhost:8007"), (":path", path)],
            endStream: true)
    }

    /// Type, flags, stream and payload of the whole frames in `bytes`.
    static func parse(_ bytes: [UInt8]) -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
        var result: [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] = []
        var index = 0
        while index + 9 <= bytes.count {
            let length = Int(bytes[index]) << 16 | Int(bytes[index + 1]) << 8 | Int(bytes[index + 2])
            guard index + 9 + length <= bytes.count else { break }
            let stream = bytes[(index + 5)..<(index + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            result.append(
                (bytes[index + 3], bytes[index + 4], stream, Array(bytes[(index + 9)..<(index + 9 + length)])))
            index += 9 + length
        }
        return result
    }
}
