import BackupFormats
import BackupProtocol
import ManagementAPI
import NIOCore

/// Writes one answer over HTTP/1.1, its body a piece at a time.
struct HTTP1ResponseSender: Sendable {
    private static let pieceBytes = 256 * 1024
    /// Fields that say how the body is framed, which is decided here.
    private static let ownFields: Set<String> = ["content-length", "transfer-encoding", "connection"]

    private let response: RESTResponse
    private let hasBody: Bool
    private let isChunked: Bool
    private let keepsAlive: Bool
    private let length: Int?
    private let channel: any Channel

    init(_ response: RESTResponse, method: String, isVersion10: Bool, keepsAlive: Bool, channel: any Channel) {
        self.response = response
        self.channel = channel
        length =
            switch response.body {
            case .bytes(let bytes): bytes.count
            case .stream(_, let length): length
            }
        let mayHaveBody = response.status >= 200 && response.status != 204 && response.status != 304
        hasBody = mayHaveBody && method != "HEAD" && length != 0
        isChunked = mayHaveBody && length == nil && !isVersion10
        self.keepsAlive = keepsAlive && (length != nil || isChunked || !mayHaveBody)
    }

    /// Sends it all; the result says whether the connection may go on. A streamed body is sent by a task, to be
    /// cancelled when the client is gone.
    func send() -> (sent: EventLoopFuture<Bool>, task: Task<Void, Never>?) {
        let keepsAlive = keepsAlive
        let head = channel.allocator.buffer(string: headText)
        guard hasBody else { return (channel.writeAndFlush(head).map { keepsAlive }, nil) }
        switch response.body {
        case .bytes(let bytes):
            channel.write(head, promise: nil)
            return (send(bytes, from: 0).map { keepsAlive }, nil)
        case .stream(let source, _):
            channel.writeAndFlush(head, promise: nil)
            let sent = channel.eventLoop.makePromise(of: Bool.self)
            let task = Task {
                do {
                    try await send(source)
                    sent.succeed(keepsAlive)
                } catch {
                    sent.fail(error)
                }
            }
            return (sent.futureResult, task)
        }
    }

    private var headText: String {
        var text = "HTTP/1.1 \(response.status) \(response.reason ?? HTTP1Reason.phrase(for: response.status))\r\n"
        for (name, value) in response.headers where !Self.ownFields.contains(name) {
            // A value never ends its line, whatever made it.
            text += "\(name): \(String(value.map { $0.isNewline ? " " : $0 }))\r\n"
        }
        if isChunked {
            text += "transfer-encoding: chunked\r\n"
        } else if let length, response.status >= 200, response.status != 204, response.status != 304 {
            text += "content-length: \(length)\r\n"
        }
        if !keepsAlive { text += "connection: close\r\n" }
        return text + "\r\n"
    }

    private func send(_ bytes: [UInt8], from offset: Int) -> EventLoopFuture<Void> {
        let end = min(offset + Self.pieceBytes, bytes.count)
        let written = channel.writeAndFlush(channel.allocator.buffer(bytes: bytes[offset..<end]))
        return end == bytes.count ? written : written.flatMap { send(bytes, from: end) }
    }

    private func send(_ source: any ByteSource) async throws {
        var left = length
        while let piece = try await source.read(upTo: Self.pieceBytes) {
            if let room = left {
                guard piece.count <= room else { throw ChannelError.inputClosed }
                left = room - piece.count
            }
            try await channel.writeAndFlush(framed(piece))
        }
        // A body shorter than it said must not look whole.
        guard left == nil || left == 0 else { throw ChannelError.inputClosed }
        if isChunked { try await channel.writeAndFlush(channel.allocator.buffer(string: "0\r\n\r\n")) }
    }

    private func framed(_ piece: [UInt8]) -> ByteBuffer {
        guard isChunked else { return channel.allocator.buffer(bytes: piece) }
        var buffer = channel.allocator.buffer(capacity: piece.count + 16)
        buffer.writeString("\(String(piece.count, radix: 16))\r\n")
        buffer.writeBytes(piece)
        buffer.writeString("\r\n")
        return buffer
    }
}
