import BackupHTTP2
import NIOCore

/// Answers plain HTTP on the TLS port: come back by `https`. (Spec: protocol A.1.)
final class PlainRedirectHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let headLimit = 16 * 1024

    private let limits: ListenerLimits
    private var received = ByteBuffer()
    private var hasAnswered = false
    private var deadline: Scheduled<Void>?

    init(limits: ListenerLimits) { self.limits = limits }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: TimeAmount(limits.headTime)) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasAnswered else { return }
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        do {
            guard let head = try HTTP1Head.take(from: &received, limit: Self.headLimit) else { return }
            answer(try HTTP1RequestHead(head), context: context)
        } catch {
            answer(status: 400, location: nil, context: context)
        }
    }

    private func answer(_ request: HTTP1RequestHead, context: ChannelHandlerContext) {
        guard let host = request.fields.header("host"), Self.isHost(host) else {
            return answer(status: 400, location: nil, context: context)
        }
        let status = request.method == "GET" || request.method == "HEAD" ? 301 : 308
        answer(status: status, location: "https://\(host)/", context: context)
    }

    /// Whether the value is an authority and nothing that would lead elsewhere.
    private static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 300
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-._:[]".utf8.contains(byte)
                }
            }
    }

    private func answer(status: Int, location: String?, context: ChannelHandlerContext) {
        hasAnswered = true
        var head = "HTTP/1.1 \(status) \(HTTP1Reason.phrase(for: status))\r\ncontent-length: 0\r\nconnection: close\r\n"
        if let location { head += "location: \(location)\r\n" }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: head + "\r\n"))).whenComplete { _ in
            // Half a close first: what the client still sends must not turn into a reset that eats the answer.
            channel.close(mode: .output).whenComplete { _ in
                channel.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent || event is ConnectionMustCloseEvent { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
