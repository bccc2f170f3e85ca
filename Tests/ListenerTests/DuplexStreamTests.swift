import BackupFormats
import BackupHTTP2
import Listener
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@Suite("A stream that a client opens", .serialized)
struct DuplexStreamTests {
    private func open(
        _ server: TestServer, _ target: String = "/talk", _ change: (inout ConnectionOptions) -> Void = { _ in }
    ) async throws -> DuplexStream {
        var options = ConnectionOptions()
        change(&options)
        return try await DuplexStream.open(
            HTTPRequest(method: "POST", target: target), to: server.server,
            trust: server.address.fingerprint.map { .fingerprint($0) }, options: options)
    }

    private func read(_ stream: DuplexStream, _ count: Int) async throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < count, let piece = try await stream.body.read(upTo: count - bytes.count) { bytes += piece }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("sends and receives at once, and ends with its request, with and without TLS", arguments: [false, true])
    func talks(plain: Bool) async throws {
        try await withServer {
            if plain { $0.certificate = .plain }
        } _: { server in
            let stream = try await open(server)
            // Before anything is known of the answer.
            try await stream.send(Array("first".utf8))
            let head = try await stream.head()
            #expect(head.status == 200 && head.header("content-type") == "talk")
            #expect(try await read(stream, 5) == "first")
            for word in ["second", "third"] {
                try await stream.send(Array(word.utf8))
                #expect(try await read(stream, word.utf8.count) == word)
            }
            stream.finish()
            #expect(try await stream.body.read(upTo: 10) == nil)
            stream.close()
            #expect(stream.fingerprint == server.address.fingerprint)
        }
    }

    @Test("carries megabytes in both directions at once")
    func large() async throws {
        try await withServer { server in
            let stream = try await open(server)
            let piece = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            let count = 20
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for _ in 0..<count { try await stream.send(piece) }
                    stream.finish()
                }
                var received = 0
                while let bytes = try await stream.body.read(upTo: 64 * 1024) {
                    let start = received % piece.count
                    let expected = (0..<bytes.count).map { piece[(start + $0) % piece.count] }
                    #expect(bytes == expected)
                    received += bytes.count
                }
                #expect(received == count * piece.count)
                try await group.waitForAll()
            }
            stream.close()
        }
    }

    @Test("waits with sending while the other side reads nothing")
    func backpressure() async throws {
        try await withServer { server in
            let stream = try await open(server, "/talk?deaf")
            let sent = NIOLockedValueBox(0)
            let sending = Task {
                for _ in 0..<40 {
                    try await stream.send([UInt8](repeating: 3, count: 16_000))
                    sent.withLockedValue { $0 += 16_000 }
                }
                stream.finish()
            }
            #expect(try await read(stream, 4) == "deaf")
            let talk = server.rest.talks.withLockedValue { $0[0] }
            // What the window takes, and no more, however long one waits.
            for _ in 0..<6000 where sent.withLockedValue({ $0 }) < 64_000 {
                try await Task.sleep(for: .milliseconds(10))
            }
            try await Task.sleep(for: .milliseconds(100))
            #expect(sent.withLockedValue { $0 } == 64_000)
            talk.record.withLockedValue { $0.mayRead = true }
            var received = 0
            while let bytes = try await stream.body.read(upTo: 100_000) { received += bytes.count }
            try await sending.value
            #expect(received == 640_000)
            stream.close()
        }
    }

    @Test("shows the answer of a server that wants no more of the request", arguments: ["refuse", "once"])
    func earlyAnswer(mode: String) async throws {
        try await withServer { server in
            let stream = try await open(server, "/talk?\(mode)")
            try? await stream.send(Array("first".utf8))
            #expect(try await stream.head().status == (mode == "refuse" ? 415 : 200))
            let text = mode == "refuse" ? "not this" : "first"
            #expect(try await read(stream, text.utf8.count) == text)
            #expect(try await stream.body.read(upTo: 10) == nil)
            // Sooner or later the reset is here.
            await #expect(throws: BackupFailure.self) {
                for _ in 0..<6000 {
                    try await stream.send(Array("more".utf8))
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
            stream.close()
        }
    }

    @Test(
        "ends for both sides when it is closed, let go of, or cut by the server",
        arguments: ["close", "drop", "cut"])
    func ends(how: String) async throws {
        let server = try await TestServer { $0.timers.feedGrace = .milliseconds(50) }
        var stream: DuplexStream? = try await open(server, how == "cut" ? "/talk?stubborn" : "/talk")
        try await stream?.send(Array("here".utf8))
        if let stream { #expect(try await read(stream, 4) == "here") }
        let talk = server.rest.talks.withLockedValue { $0[0] }
        switch how {
        case "close": stream?.close()
        case "drop": stream = nil
        default: await server.listener.stop()
        }
        #expect(await talk.waits { $0.failure != nil || $0.isCancelled })
        if let stream {
            await #expect(throws: BackupFailure.self) { _ = try await stream.body.read(upTo: 10) }
            await #expect(throws: BackupFailure.self) { try await stream.send([1]) }
        }
        await server.end()
    }

    @Test("says what answers where it is no HTTP/2, or no TLS, or nobody")
    func strangers() async throws {
        try await withServer { server in
            // Plain text to a TLS port: it answers in HTTP/1.1.
            let stream = try await DuplexStream.open(
                HTTPRequest(method: "POST", target: "/talk"), to: server.server, trust: nil)
            let failure = await #expect(throws: BackupFailure.self) { _ = try await stream.head() }
            #expect(failure?.kind == .unsupported)
            #expect(failure?.summary.contains("HTTP/1.1 4") == true, "\(failure?.summary ?? "")")
        }
        try await withServer {
            $0.certificate = .plain
        } _: { server in
            let failure = await #expect(throws: BackupFailure.self) {
                _ = try await DuplexStream.open(
                    HTTPRequest(method: "POST", target: "/talk"), to: server.server, trust: .system)
            }
            #expect(failure?.kind == .unavailable)
        }
        let closed = try await TestServer()
        await closed.end()
        let failure = await #expect(throws: BackupFailure.self) { _ = try await open(closed) }
        #expect(failure?.kind == .unavailable)
    }

    @Test("shows the fingerprint of a certificate that is not trusted")
    func untrusted() async throws {
        try await withServer { server in
            let failure = await #expect(throws: BackupFailure.self) {
                _ = try await DuplexStream.open(
                    HTTPRequest(method: "POST", target: "/talk"), to: server.server, trust: .system)
            }
            #expect(failure?.kind == .notAuthenticated)
            #expect((failure?.cause as? UntrustedCertificate)?.fingerprint == server.address.fingerprint)
        }
    }

    @Test("reaches a host by its name")
    func name() async throws {
        try await withServer { server in
            let stream = try await DuplexStream.open(
                HTTPRequest(method: "POST", target: "/talk"),
                to: ServerAddress(host: "localhost", port: server.address.port),
                trust: server.address.fingerprint.map { .fingerprint($0) })
            try await stream.send(Array("word".utf8))
            #expect(try await read(stream, 4) == "word")
            stream.close()
        }
    }

    @Test("asks a silent server for a sign of life, and ends where none comes")
    func keepalive() async throws {
        // Takes connections, remembers what comes, and says nothing.
        let inbox = NIOLockedValueBox<[UInt8]>([])
        let mute = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Listening(inbox))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        var options = ConnectionOptions()
        options.keepalive = .milliseconds(200)
        let stream = try await DuplexStream.open(
            HTTPRequest(method: "POST", target: "/talk"),
            to: ServerAddress(host: "127.0.0.1", port: mute.localAddress?.port ?? 0), trust: nil, options: options)
        let failure = await #expect(throws: BackupFailure.self) { _ = try await stream.head() }
        #expect(failure?.summary.contains("no sign of life") == true)
        let frames = RawFrame.parse(Array(inbox.withLockedValue { $0 }.dropFirst(RawFrame.preface.count)))
        #expect(frames.contains { $0.type == 6 && $0.flags == 0 })
        try await mute.close()
    }

    private final class Listening: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let inbox: NIOLockedValueBox<[UInt8]>
        init(_ inbox: NIOLockedValueBox<[UInt8]>) { self.inbox = inbox }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            inbox.withLockedValue { $0 += bytes.readableBytesView }
        }
    }

    @Test("is reset by the server when its client takes nothing of the answer", .timeLimit(.minutes(3)))
    func stalled() async throws {
        try await withServer {
            $0.timers.feedPatience = .milliseconds(200)
        } _: { server in
            let stream = try await open(server)
            // More than the client's window holds comes back, and nobody reads it.
            let sending = Task { for _ in 0..<100 { try await stream.send([UInt8](repeating: 1, count: 16_000)) } }
            await #expect(throws: (any Error).self) { try await sending.value }
            // What had come is there, and then the reason.
            await #expect(throws: BackupFailure.self) {
                while try await stream.body.read(upTo: 100_000) != nil {}
            }
            stream.close()
        }
    }
}
