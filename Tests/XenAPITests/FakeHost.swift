import BackupFormats
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A web server in the test's process: each request goes to a closure, whose answer may be slow, cut or wrong.
final class FakeHost: Sendable {
    struct Request: Sendable {
        let method: String
        let path: String
        let query: [String: String]
        let contentLength: String?
        let body: [UInt8]
        /// The connection ended before the declared length had come.
        let isCut: Bool

        var json: JSONValue? { try? JSONValue(parsing: body) }
    }

    struct Answer: Sendable {
        var status = 200
        var headers: [(String, String)] = []
        var pieces: [[UInt8]] = []
        /// Added to the headers; nil: the end of the body is that of the connection.
        var contentLength: Int?
        /// The connection is closed after the pieces, or without an answer where status is 0.
        var closes = false
        /// Between two pieces.
        var pause = Duration.zero

        static func json(_ value: JSONValue) -> Answer {
            let body = Array(value.compactText.utf8)
            return Answer(headers: [("content-type", "application/json")], pieces: [body], contentLength: body.count)
        }

        static func bytes(_ body: [UInt8]) -> Answer { Answer(pieces: [body], contentLength: body.count) }
        static func status(_ status: Int) -> Answer { Answer(status: status, contentLength: 0) }
        static func redirect(_ location: String) -> Answer {
            Answer(status: 302, headers: [("location", location)], contentLength: 0)
        }
        static let reset = Answer(status: 0, closes: true)
    }

    typealias Handler = @Sendable (Request) async -> Answer

    private let channel: any Channel
    private let children: Children
    let port: Int

    private final class Children: Sendable {
        let channels = Mutex<[any Channel]>([])
    }

    private init(_ channel: any Channel, _ children: Children) {
        self.channel = channel
        self.children = children
        port = channel.localAddress?.port ?? 0
    }

    var address: String { "127.0.0.1:\(port)" }

    static func start(
        host: String = "127.0.0.1", port: Int = 0, _ handler: @escaping Handler
    ) async throws -> FakeHost {
        let children = Children()
        let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                children.channels.withLock { $0.append(channel) }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(Connection(handler))
                }
            }
            .bind(host: host, port: port).get()
        return FakeHost(channel, children)
    }

    func stop() async {
        try? await channel.close()
        for child in children.channels.withLock({ $0 }) { try? await child.close() }
    }

    private final class Connection: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let handler: Handler
        private var head: HTTPRequestHead?
        private var body: [UInt8] = []

        init(_ handler: @escaping Handler) { self.handler = handler }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body = []
            case .body(let piece): body += piece.readableBytesView
            case .end: answer(context.channel, isCut: false)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if head != nil { answer(context.channel, isCut: true) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func answer(_ channel: any Channel, isCut: Bool) {
            guard let head else { return }
            self.head = nil
            let (path, query) = Self.split(head.uri)
            let request = Request(
                method: head.method.rawValue, path: path, query: query,
                contentLength: head.headers.first(name: "content-length"), body: body, isCut: isCut)
            let handler = handler
            Task {
                let answer = await handler(request)
                if isCut { return }
                try? await answer.write(to: channel)
            }
        }

        private static func split(_ uri: String) -> (String, [String: String]) {
            let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
            var query: [String: String] = [:]
            for pair in parts.count > 1 ? parts[1].split(separator: "&") : [] {
                let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                query[sides[0]] =
                    sides.count > 1 ? sides[1].replacing("%3A", with: ":").replacing("%2F", with: "/") : ""
            }
            return (String(parts[0]), query)
        }
    }
}

extension FakeHost.Answer {
    fileprivate func write(to channel: any Channel) async throws {
        guard status != 0 else { return try await channel.close() }
        var fields = HTTPHeaders(headers)
        if let contentLength { fields.add(name: "content-length", value: "\(contentLength)") }
        let isEndless = contentLength == nil
        if isEndless { fields.add(name: "connection", value: "close") }
        let head = HTTPResponseHead(
            version: isEndless ? .http1_0 : .http1_1, status: .init(statusCode: status), headers: fields)
        try await send(.head(head), to: channel)
        for (index, piece) in pieces.enumerated() {
            if index > 0, pause > .zero { try await Task.sleep(for: pause) }
            try await send(.body(.byteBuffer(ByteBuffer(bytes: piece))), to: channel)
        }
        if closes { return try await channel.close() }
        try await send(.end(nil), to: channel)
        if isEndless { try await channel.close() }
    }

    private func send(_ part: HTTPServerResponsePart, to channel: any Channel) async throws {
        try await channel.writeAndFlush(part).get()
    }
}
