import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

@Suite("HTTP/1.1 on the listener", .serialized)
struct HTTP1Tests {
    @Test("sends plain HTTP on the TLS port to https by the Host header alone")
    func redirects() async throws {
        try await withServer { server in
            for (head, expected) in [
                ("GET /api2/x HTTP/1.1\r\nHost: pbs.example:8007\r\n\r\n", "HTTP/1.1 301 "),
                ("POST /x HTTP/1.1\r\nHost: pbs.example:8007\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 308 "),
            ] {
                let (client, _) = try await RawClient.connect(to: server.server, alpn: nil)
                try await client.send(head)
                let text = try await client.text(until: "\r\n\r\n")
                #expect(text.hasPrefix(expected))
                #expect(text.contains("location: https://pbs.example:8007/\r\n"))
                try? await client.close()
            }
            for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil/..@x\r\n\r\n", "garbage\r\n\r\n"] {
                let (client, _) = try await RawClient.connect(to: server.server, alpn: nil)
                try await client.send(head)
                #expect(try await client.text(until: "\r\n\r\n").hasPrefix("HTTP/1.1 400 "))
                try? await client.close()
            }
        }
    }

    @Test(
        "selects http/1.1 whenever it is offered, h2 where nothing else is, and then believes the first bytes",
        arguments: [
            ([], nil), (["h2", "http/1.1"], "http/1.1"), (["h2"], "h2"), (["http/1.1"], "http/1.1"), (["x"], nil),
        ]
            as [([String], String?)])
    func alpn(offer: [String], selected: String?) async throws {
        try await withServer { server in
            let (client, negotiated) = try await RawClient.connect(to: server.server, alpn: offer)
            #expect((negotiated ?? "") == (selected ?? ""))
            try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.text(until: "GET /ping").hasPrefix("HTTP/1.1 200 OK"))
            try await client.close()
        }
    }

    @Test("sends the pieces of a body as they come, and stops making it when the client is gone")
    func vanishing() async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.text(until: "word").hasPrefix("HTTP/1.1 200 OK"))
            try await client.close()
            for _ in 0..<6000 where !server.rest.endless.isCancelled.withLockedValue({ $0 }) {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(server.rest.endless.isCancelled.withLockedValue { $0 })
        }
    }

    @Test("speaks TLS 1.2 and 1.3", arguments: [12, 13])
    func versions(version: Int) async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server, tls: version == 12 ? .tlsv12 : .tlsv13)
            try await client.send("GET /ping HTTP/1.1\r\n\r\n")
            #expect(try await client.text(until: "GET /ping").hasPrefix("HTTP/1.1 200 OK"))
            try await client.close()
        }
    }

    @Test(
        "refuses what is no request, and closes",
        arguments: [
            ("garbage\r\n\r\n", "400"), ("GET / HTTP/2.0\r\n\r\n", "400"), ("GET /\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "400"), ("GET / HTTP/1.1\r\nA b: c\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
            ("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 70_000) + "\r\n\r\n", "431"),
            ("GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 101) + "\r\n", "431"),
        ])
    func refusals(head: String, status: String) async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(head)
            #expect(try await client.rest().hasPrefix("HTTP/1.1 \(status) "))
        }
    }

    @Test("takes bodies by length and in chunks, answers 100 where asked, keeps order when requests are pipelined")
    func bodies() async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(
                "POST /slow HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
                    + "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
                    + "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\nHEAD /last HTTP/1.1\r\nConnection: close\r\n\r\n",
                pieces: 50)
            let text = try await client.rest()
            let slow = try #require(text.firstRange(of: "slow"))
            let proceed = try #require(text.firstRange(of: "HTTP/1.1 100 Continue\r\n\r\n"))
            let echo = try #require(text.firstRange(of: "\r\n\r\nabcde"))
            #expect(slow.lowerBound < proceed.lowerBound && proceed.lowerBound < echo.lowerBound)
            #expect(text.hasSuffix("content-length: 10\r\nconnection: close\r\n\r\n"))
        }
    }

    @Test("hands over one byte more than the limit of a body, and closes after the answer")
    func tooLong() async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send("POST /echo HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n")
            try await client.send([UInt8](repeating: 1, count: 1_500_000))
            #expect(try await client.rest().contains("body too long"))
            #expect(server.rest.requests.withLockedValue { $0.last?.body.count } == 1024 * 1024 + 1)
        }
    }

    @Test("streams bodies of unknown length in chunks, and to HTTP/1.0 until the close")
    func streams() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let collected = try await connection.send(HTTPRequest(target: "/stream?1000000"))
            #expect(collected.bytes.count == 1_000_000)
            let positions = stride(from: 0, to: 1_000_000, by: 997)
            #expect(positions.allSatisfy { collected.bytes[$0] == UInt8($0 % 251) })
            let streamed = try await connection.stream(HTTPRequest(target: "/big?5000000"))
            let response = BackupResponse(status: streamed.status, contentType: nil, body: streamed.body)
            #expect(try await response.collect(limit: 5_000_000).count == 5_000_000)
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send("GET /stream?1000 HTTP/1.0\r\n\r\n")
            let text = try await client.read { _ in false }
            let end = try #require(text.firstRange(of: Array("\r\n\r\n".utf8)))
            #expect(text[end.upperBound...].count == 1000)
            await connection.close()
        }
    }

    @Test("ends slow handshakes, slow heads and slow bodies, but not a connection that is only quiet")
    func slowness() async throws {
        try await withServer { configuration in
            configuration.limits.handshakeTime = .seconds(3)
            configuration.limits.headTime = .milliseconds(300)
            configuration.limits.bodyTime = .milliseconds(300)
        } _: { server in
            let (quiet, _) = try await RawClient.connect(to: server.server)
            let (hello, _) = try await RawClient.connect(to: server.server, alpn: nil)
            try await hello.send([0x16, 0x03, 0x01, 0x02, 0x00])
            #expect(try await hello.rest().isEmpty)
            let (head, _) = try await RawClient.connect(to: server.server)
            try await head.send("GET / HT")
            _ = try await head.rest()
            let (second, _) = try await RawClient.connect(to: server.server)
            try await second.send("GET /a HTTP/1.1\r\n\r\nGET /b HT")
            #expect(try await second.rest().contains("HTTP/1.1 408 "))
            let (body, _) = try await RawClient.connect(to: server.server)
            try await body.send("POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
            #expect(try await body.rest().hasPrefix("HTTP/1.1 408 "))
            try await quiet.send("GET /quiet HTTP/1.1\r\n\r\n")
            #expect(try await quiet.text(until: "GET /quiet").hasPrefix("HTTP/1.1 200 OK"))
            try await quiet.close()
        }
    }

    @Test("shows the certificate it was given on SIGHUP to new connections")
    func reload() async throws {
        try await withServer { server in
            let old = try await server.connect()
            #expect(old.fingerprint == server.address.fingerprint)
            try FileSystemProbe.removeCertificate(in: server.folder)
            let fresh = try server.listener.reloadCertificate()
            #expect(fresh != server.address.fingerprint)
            #expect(try await old.send(HTTPRequest(target: "/still")).status == 200)
            await old.close()
            do {
                _ = try await server.connect()
                Issue.record("the old fingerprint was accepted")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .notAuthenticated)
                #expect((failure.cause as? UntrustedCertificate)?.fingerprint == fresh)
            }
        }
    }

    @Test("is not trusted by clients that go by the machine's authorities, which learn the fingerprint")
    func untrusted() async throws {
        try await withServer { server in
            do {
                _ = try await ServerConnection.connect(to: server.server, trust: .system)
                Issue.record("a self-signed certificate was trusted")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .notAuthenticated)
                #expect((failure.cause as? UntrustedCertificate)?.fingerprint == server.address.fingerprint)
            }
            let trusting = try await ServerConnection.connect(
                to: server.server, trust: .authorities(file: "\(server.folder)/proxy.pem"))
            #expect(try await trusting.send(HTTPRequest(target: "/x")).status == 200)
            await trusting.close()
            #expect(try FileSystemProbe.mode(of: "\(server.folder)/proxy.key") == 0o600)
        }
    }
}
