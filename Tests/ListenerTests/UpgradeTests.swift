import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

private let upgradeHead =
    "GET //api2/json/backup?store=x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: proxmox-backup-protocol-v1\r\n\r\n"

/// The frames after the head of the answer, as far as they have arrived.
private func framesAfterHead(
    _ bytes: [UInt8]
) -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
    guard let head = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
    return RawFrame.parse(Array(bytes[head.upperBound...]))
}

@Suite("An upgrade", .serialized, .timeLimit(.minutes(10)))
struct UpgradeTests {
    @Test("answers 101 and announces limits and windows at once")
    func settings() async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(upgradeHead)
            let bytes = try await client.read { framesAfterHead($0).contains { $0.type == 8 } }
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 101 "))
            let frames = framesAfterHead(bytes)
            let first = try #require(frames.first)
            #expect(first.type == 4 && first.stream == 0)
            var values: [Int: Int] = [:]
            for start in stride(from: 0, to: first.payload.count, by: 6) {
                let value = first.payload[(start + 2)..<(start + 6)].reduce(0) { $0 << 8 | Int($1) }
                values[Int(first.payload[start]) << 8 | Int(first.payload[start + 1])] = value
            }
            #expect(values == [3: 200, 4: 32 << 20, 5: 4 << 20, 6: 16 << 10])
            let window = try #require(frames.first { $0.type == 8 && $0.stream == 0 })
            #expect(window.payload.reduce(0) { $0 << 8 | Int($1) } == (32 << 20) - 65_535)
            try await client.close()
        }
    }

    @Test(
        "is taken however the head comes",
        arguments: [
            // Without Host and Connection, as the Go client sends it.
            ("GET /api2/json/backup HTTP/1.1\r\nUpgrade: proxmox-backup-protocol-v1\r\n\r\n", 7),
            (upgradeHead, 1),
            (upgradeHead.replacing("Upgrade:", with: "UPGRADE:"), nil),
        ] as [(String, Int?)])
    func heads(head: String, pieces: Int?) async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(head, pieces: pieces)
            #expect(try await client.text(until: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
            try await client.close()
            #expect(await server.session.ended() == .closed)
        }
    }

    @Test("takes the preface and a call in the packet of the head, as third request of the connection")
    func samePacket() async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send("GET /one HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try await client.text(until: "GET /one").contains("200 OK"))
            try await client.send("GET /api2/json/backup HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n")
            #expect(try await client.text(until: "invalid protocol name").contains("400 Bad Request"))
            try await client.send(
                Array(upgradeHead.utf8) + RawFrame.preface + RawFrame.settings + RawFrame.get(stream: 1, "//count?a=1"))
            let bytes = try await client.read { framesAfterHead($0).contains { $0.type == 0 && $0.stream == 1 } }
            #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("HTTP/1.1 101"))
            #expect(server.session.arrivals == ["GET /count?a=1"])
            try await client.close()
        }
    }

    @Test("serves more streams than it announces, whenever its settings are acknowledged", arguments: [0, 120, 300])
    func manyStreams(before: Int) async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(upgradeHead)
            _ = try await client.read { framesAfterHead($0).contains { $0.type == 8 } }
            let acknowledgement = RawFrame.frame(type: 4, flags: 1, stream: 0, [])
            var bytes = RawFrame.preface + RawFrame.settings
            for index in 0...300 {
                if index == before { bytes += acknowledgement }
                if index < 300 { bytes += RawFrame.get(stream: UInt32(index * 2 + 1), "/wait") }
            }
            // In pieces that cut frames anywhere.
            for start in stride(from: 0, to: bytes.count, by: 1001) {
                try await client.send(Array(bytes[start..<min(start + 1001, bytes.count)]))
            }
            while server.session.arrivals.count < 300 { try await Task.sleep(for: .milliseconds(5)) }
            server.session.open()
            let answers = try await client.read { bytes in
                RawFrame.parse(bytes).count { $0.type == 0 && $0.flags & 1 == 1 } == 300
            }
            #expect(!answers.isEmpty)
            try await client.close()
        }
    }

    @Test("that is refused leaves a usable HTTP/1.1 connection, and its text reaches the client")
    func refused() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            do {
                _ = try await connection.upgrade(to: .reader, query: "store=x", headers: [])
                Issue.record("the upgrade was taken")
            } catch let failure as BackupFailure {
                #expect(failure.summary == "invalid protocol name")
                #expect(failure.kind == .invalidInput)
            }
            let response = try await connection.send(HTTPRequest(target: "/after"))
            #expect(String(decoding: response.bytes, as: UTF8.self) == "GET /after")
            await connection.close()
        }
    }

    @Test("tells the session how its connection ended", arguments: ["close", "cut", "reset", "goaway"])
    func ends(how: String) async throws {
        try await withServer { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send(Array(upgradeHead.utf8) + RawFrame.preface + RawFrame.settings)
            _ = try await client.text(until: "\r\n\r\n")
            switch how {
            case "close": try await client.close()
            case "cut": try await client.cut()
            case "reset": try await client.cut(reset: true)
            default:
                try await client.send(RawFrame.frame(type: 7, flags: 0, stream: 0, [UInt8](repeating: 0, count: 8)))
                // The server says goodbye at once, and may be quicker.
                try? await client.cut()
            }
            let end = try #require(await server.session.ended())
            if how == "close" {
                #expect(end == .closed)
            } else {
                guard case .lost(let reason) = end else {
                    #expect(how == "goaway")
                    return
                }
                #expect(reason.hasPrefix("connection error"))
            }
            #expect(server.session.record.withLockedValue { $0.ends } == 1)
        }
    }

    @Test("gives the session a way to end the connection")
    func abort() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            _ = try await transport.send(BackupRequest(head: BackupRequestHead(method: "GET", path: "/count")))
            server.session.record.withLockedValue { $0.connection }?.close(reason: "task aborted")
            #expect(await server.session.ended() == .lost(reason: "task aborted"))
            await #expect(throws: BackupFailure.self) {
                _ = try await transport.send(BackupRequest(head: BackupRequestHead(method: "GET", path: "/count")))
            }
        }
    }
}
