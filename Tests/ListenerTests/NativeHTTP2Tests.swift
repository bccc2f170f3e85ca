import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

@Suite("Native HTTP/2", .serialized)
struct NativeHTTP2Tests {
    /// A connection that has said its preface.
    private func connect(_ server: TestServer, alpn: [String] = ["h2"]) async throws -> RawClient {
        let (client, _) = try await RawClient.connect(to: server.server, alpn: alpn)
        try await client.send(RawFrame.preface + RawFrame.settings)
        return client
    }

    private func request(
        _ stream: UInt32, _ method: String, _ path: String, as user: String? = "a@pbs", more: [(String, String)] = []
    ) -> [UInt8] {
        var fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        if let user { fields.append(("authorization", user)) }
        return RawFrame.headers(stream: stream, fields + more, endStream: true)
    }

    /// The body of the answer on this stream.
    private func body(_ client: RawClient, _ stream: UInt32) async throws -> String {
        let bytes = try await client.read { bytes in
            RawFrame.parse(bytes).contains { $0.stream == stream && ($0.type == 3 || $0.flags & 1 == 1) }
        }
        let frames = RawFrame.parse(bytes).filter { $0.stream == stream }
        if frames.contains(where: { $0.type == 3 }) { return "reset" }
        return String(decoding: frames.filter { $0.type == 0 }.flatMap(\.payload), as: UTF8.self)
    }

    @Test("serves the REST API, whatever was negotiated", arguments: [["h2"], [], ["http/1.1"]])
    func rest(alpn: [String]) async throws {
        try await withServer { server in
            let client = try await connect(server, alpn: alpn)
            try await client.send(request(1, "GET", "/api2/json/version?a=b", as: nil))
            #expect(try await body(client, 1) == "GET /api2/json/version?a=b")
            #expect(server.rest.requests.withLockedValue { $0.last?.isHTTP2 } == true)
            #expect(server.rest.requests.withLockedValue { $0.last?.header("host") } == "localhost")
            try await client.close()
        }
    }

    @Test("resets a request with an upgrade header, which is illegal there")
    func upgradeHeader() async throws {
        try await withServer { server in
            let client = try await connect(server)
            try await client.send(
                request(1, "GET", "/api2/json/backup", more: [("upgrade", "proxmox-backup-protocol-v1")]))
            let answer = try await body(client, 1)
            #expect(answer == "reset" || answer.contains("upgrade"))
            try await client.send(request(3, "GET", "/after"))
            #expect(try await body(client, 3) == "GET /after")
            try await client.close()
        }
    }

    @Test("opens a session by POST, keeps it to its owner, and serves the API beside it")
    func session() async throws {
        try await withServer { server in
            let client = try await connect(server)
            try await client.send(request(1, "POST", "/api2/json/backup?store=x"))
            #expect(try await body(client, 1) == "{\"data\":null}")
            try await client.send(request(3, "GET", "//api2/json/backup//count?x=1"))
            #expect(try await body(client, 3) == "0")
            #expect(server.session.arrivals == ["GET /count?x=1"])
            try await client.send(request(5, "GET", "/api2/json/backup/count", as: "b@pbs"))
            #expect(try await body(client, 5) == "the session belongs to somebody else")
            try await client.send(request(7, "GET", "/api2/json/backup/count", as: nil))
            #expect(try await body(client, 7) == "the session belongs to somebody else")
            try await client.send(request(9, "POST", "/api2/json/reader?store=x"))
            #expect(try await body(client, 9) == "this connection has a session already")
            try await client.send(request(11, "GET", "/api2/json/version", as: nil))
            #expect(try await body(client, 11) == "GET /api2/json/version")
            #expect(server.session.arrivals.count == 1)
            try await client.close()
            #expect(await server.session.ended() == .closed)
        }
    }

    @Test("has no session paths before one is open")
    func closed() async throws {
        try await withServer { server in
            let client = try await connect(server)
            try await client.send(request(1, "GET", "/api2/json/backup/count"))
            #expect(try await body(client, 1) == "GET /api2/json/backup/count")
            try await client.close()
        }
    }
}
