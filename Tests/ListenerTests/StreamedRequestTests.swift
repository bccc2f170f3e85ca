import BackupFormats
import BackupHTTP2
import Listener
import NIOConcurrencyHelpers
import Testing

@Suite("A request that streams both ways", .serialized)
struct StreamedRequestTests {
    /// An open stream on a connection of its own; frames are parsed from all that has come.
    private final class Talk {
        let client: RawClient
        let stream: UInt32
        private var received: [UInt8] = []

        init(_ client: RawClient, stream: UInt32) {
            self.client = client
            self.stream = stream
        }

        var frames: [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
            RawFrame.parse(received).filter { $0.stream == stream }
        }

        var answer: String { String(decoding: frames.filter { $0.type == 0 }.flatMap(\.payload), as: UTF8.self) }
        var hasEnd: Bool { frames.contains { $0.type < 2 && $0.flags & 1 == 1 } }
        var resetCode: UInt8? { frames.first { $0.type == 3 }?.payload.last }
        /// What the window has been raised by.
        var granted: Int {
            frames.filter { $0.type == 8 }.map { $0.payload.reduce(0) { $0 << 8 | Int($1) } }.reduce(0, +)
        }

        /// Reads until the stream looks as wanted.
        func reads(until isWanted: (Talk) -> Bool) async throws {
            while !isWanted(self) { received += try await client.read { _ in true } }
        }

        func data(_ bytes: [UInt8], end: Bool = false) async throws {
            try await client.send(RawFrame.frame(type: 0, flags: end ? 1 : 0, stream: stream, bytes))
        }
    }

    private func connect(_ server: TestServer, plain: Bool = false) async throws -> RawClient {
        let (client, _) = try await RawClient.connect(to: server.server, alpn: plain ? nil : ["h2"])
        try await client.send(RawFrame.preface + RawFrame.settings)
        return client
    }

    private func open(_ client: RawClient, stream: UInt32 = 1, mode: String = "") async throws -> Talk {
        let path = mode.isEmpty ? "/talk" : "/talk?\(mode)"
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        try await client.send(RawFrame.headers(stream: stream, fields, endStream: false))
        return Talk(client, stream: stream)
    }

    @Test("is answered piece by piece while it goes on, over TLS and in plain text", arguments: [false, true])
    func echoes(plain: Bool) async throws {
        try await withServer {
            if plain { $0.certificate = .plain }
        } _: { server in
            #expect(server.address.url.hasPrefix(plain ? "http://" : "https://"))
            let talk = try await open(try await connect(server, plain: plain))
            try await talk.reads { $0.frames.contains { $0.type == 1 } }
            for word in ["one", "two", "three"] {
                try await talk.data(Array(word.utf8))
                try await talk.reads { $0.answer.hasSuffix(word) }
            }
            for byte in "bytes".utf8 { try await talk.data([byte]) }
            try await talk.reads { $0.answer.hasSuffix("bytes") }
            try await talk.data([], end: true)
            try await talk.reads(until: \.hasEnd)
            #expect(talk.resetCode == nil)
            #expect(talk.answer == "onetwothreebytes")
            #expect(server.rest.talks.withLockedValue { $0[0].record.withLockedValue { $0.hasEnded } })
            try await talk.client.close()
        }
    }

    @Test("takes no more from the network than its reader, beyond the window")
    func slowReader() async throws {
        try await withServer { server in
            let talk = try await open(try await connect(server), mode: "deaf")
            try await talk.reads { $0.answer == "deaf" }
            let piece = [UInt8](repeating: 9, count: 16_000)
            for _ in 0..<4 { try await talk.data(piece) }
            // Answers of another stream show that the connection itself goes on.
            try await talk.client.send(RawFrame.get(stream: 3, "/other"))
            _ = try await talk.client.text(until: "GET /other")
            #expect(talk.granted == 0)
            let fake = server.rest.talks.withLockedValue { $0[0] }
            fake.record.withLockedValue { $0.mayRead = true }
            #expect(await fake.waits { $0.taken == 64_000 })
            try await talk.reads { $0.granted > 0 }
            #expect(talk.granted <= 256 * 1024)
            try await talk.client.close()
        }
    }

    @Test("is reset where it sends more than it may")
    func overrun() async throws {
        try await withServer { server in
            let talk = try await open(try await connect(server), mode: "deaf")
            try await talk.reads { $0.answer == "deaf" }
            for _ in 0..<5 { try await talk.data([UInt8](repeating: 9, count: 16_000)) }
            try await talk.reads { $0.resetCode != nil }
            #expect(await server.rest.talks.withLockedValue { $0[0] }.waits { $0.isCancelled })
            try await talk.client.close()
        }
    }

    @Test("is told to stop when its answer is complete", arguments: ["once", "refuse"])
    func earlyEnd(mode: String) async throws {
        try await withServer { server in
            let client = try await connect(server)
            let talk = try await open(client, mode: mode)
            try await talk.data(Array("first".utf8))
            try await talk.reads { $0.hasEnd && $0.resetCode != nil }
            #expect(talk.resetCode == 0)
            #expect(talk.answer == (mode == "once" ? "first" : "not this"))
            // The connection serves the next one.
            try await talk.data(Array("late".utf8))
            let next = try await open(client, stream: 3)
            try await next.data(Array("again".utf8))
            try await next.reads { $0.answer == "again" }
            try await client.close()
        }
    }

    @Test("breaks off for both sides when the client resets it or the connection is lost", arguments: [false, true])
    func brokenOff(resets: Bool) async throws {
        try await withServer { server in
            let client = try await connect(server)
            let talk = try await open(client)
            try await talk.data(Array("here".utf8))
            try await talk.reads { $0.answer == "here" }
            if resets {
                try await client.send(RawFrame.frame(type: 3, flags: 0, stream: 1, [0, 0, 0, 8]))
            } else {
                try await client.cut()
            }
            let fake = server.rest.talks.withLockedValue { $0[0] }
            #expect(await fake.waits { $0.failure != nil || $0.isCancelled })
            if resets {
                let next = try await open(client, stream: 3)
                try await next.data(Array("again".utf8))
                try await next.reads { $0.answer == "again" }
                try await client.close()
            }
        }
    }

    @Test("runs beside forty others on one connection")
    func many() async throws {
        try await withServer { server in
            let client = try await connect(server)
            var all = ""
            for index in 0..<40 {
                let talk = try await open(client, stream: UInt32(2 * index + 1))
                try await talk.data(Array("<\(index)>".utf8))
            }
            while (0..<40).contains(where: { !all.contains("<\($0)>") }) {
                all += String(decoding: try await client.read { _ in true }, as: UTF8.self)
            }
            try await client.close()
        }
    }

    @Test("is ended by a server that stops, and cut where it will not end", arguments: ["", "stubborn"])
    func stop(mode: String) async throws {
        let server = try await TestServer {
            $0.stopGrace = .seconds(600)
            $0.timers.feedGrace = mode.isEmpty ? .seconds(600) : .milliseconds(50)
        }
        let talk = try await open(try await connect(server), mode: mode)
        try await talk.data(Array("here".utf8))
        try await talk.reads { $0.answer == "here" }
        let stopping = Task { await server.listener.stop() }
        if mode.isEmpty {
            try await talk.reads { $0.hasEnd && $0.resetCode == 0 }
            #expect(talk.answer == "hereover")
        } else {
            try await talk.reads { $0.resetCode == 8 }
        }
        // No sooner than all is closed.
        await stopping.value
        await server.end()
    }

    @Test("does not keep a server from stopping where its answer never ends", arguments: [true, false])
    func feeds(http2: Bool) async throws {
        let server = try await TestServer {
            $0.stopGrace = .seconds(600)
            $0.timers.feedGrace = .milliseconds(50)
        }
        let client: RawClient
        if http2 {
            client = try await connect(server)
            try await client.send(RawFrame.get(stream: 1, "/feed"))
        } else {
            client = try await RawClient.connect(to: server.server).client
            try await client.send("GET /feed HTTP/1.1\r\n\r\n")
        }
        _ = try await client.text(until: "word")
        await server.listener.stop()
        for _ in 0..<6000 where !server.rest.endless.isCancelled.withLockedValue({ $0 }) {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(server.rest.endless.isCancelled.withLockedValue { $0 })
        try? await client.close()
        await server.end()
    }

    @Test(
        "is refused over HTTP/1.1 at once, though its body never comes",
        arguments: [(false, "transfer-encoding: chunked"), (true, "content-length: 5"), (false, "content-length: 0")])
    func http1(plain: Bool, length: String) async throws {
        try await withServer {
            if plain { $0.certificate = .plain }
        } _: { server in
            let (client, _) = try await RawClient.connect(to: server.server, alpn: plain ? nil : [])
            try await client.send("POST /talk HTTP/1.1\r\nhost: x\r\n\(length)\r\n\r\n")
            let answer = try await client.rest()
            #expect(answer.hasPrefix("HTTP/1.1 505 ") && answer.contains("connection: close"))
            #expect(answer.hasSuffix("HTTP/2 is needed"))
        }
    }
}

@Suite("A listener in plain text", .serialized)
struct PlainListenerTests {
    @Test("serves HTTP/1.1 and redirects nobody")
    func http1() async throws {
        try await withServer {
            $0.certificate = .plain
        } _: { server in
            let (client, _) = try await RawClient.connect(to: server.server, alpn: nil)
            try await client.send("GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
            #expect(try await client.text(until: "GET /one").hasPrefix("HTTP/1.1 200"))
            #expect(server.listener.fingerprint == nil)
            #expect(throws: BackupFailure.self) { _ = try server.listener.describeCertificate() }
            try await client.close()
        }
    }

    @Test("closes connections that begin with TLS")
    func tls() async throws {
        try await withServer {
            $0.certificate = .plain
        } _: { server in
            await #expect(throws: (any Error).self) { _ = try await RawClient.connect(to: server.server) }
        }
    }
}
