import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

@Suite("A listener that stops", .serialized)
struct StopTests {
    @Test(
        "closes idle connections at once, lets requests end, waits for sessions, then ends them and their cleaning up")
    func graceful() async throws {
        let session = FakeSession(cleanUp: .milliseconds(200))
        let server = try await TestServer(rest: FakeREST(session: session)) { $0.stopGrace = .seconds(8) }
        let (silent, _) = try await RawClient.connect(to: server.server, alpn: nil)
        let (idle, _) = try await RawClient.connect(to: server.server)
        try await idle.send("GET /one HTTP/1.1\r\n\r\n")
        _ = try await idle.text(until: "GET /one")
        let (idle2, _) = try await RawClient.connect(to: server.server, alpn: ["h2"])
        try await idle2.send(RawFrame.preface + RawFrame.settings + RawFrame.get(stream: 1, "/two"))
        _ = try await idle2.text(until: "GET /two")
        let (busy, _) = try await RawClient.connect(to: server.server)
        try await busy.send("GET /hold HTTP/1.1\r\n\r\n")
        let connection = try await server.connect()
        let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
        while session.arrivals.isEmpty { try await Task.sleep(for: .milliseconds(5)) }

        let start = ContinuousClock.now
        let stopping = Task { await server.listener.stop() }
        _ = try await silent.rest()
        _ = try await idle.rest()
        _ = try await idle2.rest()
        #expect(session.record.withLockedValue { $0.end } == nil, "they had to wait for the session")
        // The session and the request still work while they have time.
        let answer = try await transport.send(BackupRequest(head: BackupRequestHead(method: "GET", path: "/count")))
        #expect(answer.status == 200)
        session.open()
        let held = try await busy.rest()
        #expect(held.hasSuffix("held") && held.contains("connection: close"))
        await stopping.value
        let time = ContinuousClock.now - start
        #expect(time > .milliseconds(8100), "\(time)")
        #expect(session.record.withLockedValue { $0.end } == .lost(reason: "the server stops"))
        await #expect(throws: BackupFailure.self) { _ = try await server.connect() }
        await server.end()
    }

    @Test("is done as soon as its sessions are")
    func early() async throws {
        let server = try await TestServer { $0.stopGrace = .seconds(600) }
        let connection = try await server.connect()
        let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
        let start = ContinuousClock.now
        let stopping = Task { await server.listener.stop() }
        try await Task.sleep(for: .milliseconds(100))
        await transport.close()
        await stopping.value
        #expect(ContinuousClock.now - start < .seconds(300))
        #expect(server.session.record.withLockedValue { $0.end } == .closed)
        await server.end()
    }
}
