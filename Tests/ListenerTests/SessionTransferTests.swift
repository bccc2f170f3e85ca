import BackupFormats
import BackupHTTP2
import BackupProtocol
import CairnTestSupport
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

@Suite("A session over the network", .serialized)
struct SessionTransferTests {
    private func call(_ path: String, query: String = "", body: [UInt8] = []) -> BackupRequest {
        BackupRequest(
            head: BackupRequestHead(method: body.isEmpty ? "GET" : "POST", path: path, query: query), body: body)
    }

    private func text(_ response: BackupResponse) async throws -> String {
        String(decoding: try await response.collect(limit: 1000), as: UTF8.self)
    }

    @Test("carries 200 bodies at once", arguments: [256 * 1024])
    func parallel(size: Int) async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let body = [UInt8](repeating: 0x5a, count: size)
            try await withThrowingTaskGroup(of: String.self) { group in
                for index in 0..<200 {
                    group.addTask {
                        try await text(try await transport.send(call("/count", query: "\(index)", body: body)))
                    }
                }
                for try await answer in group { #expect(answer == "\(size)") }
            }
            #expect(server.session.arrivals.count == 200)
            await transport.close()
            #expect(await server.session.ended() == .closed)
        }
    }

    @Test("gives back the largest body byte for byte")
    func largest() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            var random = SeededRandom(seed: 7)
            let body = random.bytes(SessionLimits.blobBytes)
            let echoed = try await transport.send(call("/echo", query: "encoded-size=\(body.count)", body: body))
            #expect(try await echoed.collect(limit: body.count) == body)
            await transport.close()
        }
    }

    @Test("answers bodies that are too long, refused or unwanted, and goes on")
    func unwanted() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let body = [UInt8](repeating: 1, count: 3_000_000)
            #expect(try await text(try await transport.send(call("/tiny", body: body))) == "too long")
            #expect(try await text(try await transport.send(call("/refuse", body: body))) == "refused")
            #expect(try await text(try await transport.send(call("/discard", body: body))) == "0")
            #expect(try await text(try await transport.send(call("/tiny", body: [1, 2, 3]))) == "3")
            await transport.close()
        }
    }

    @Test("streams answers with back-pressure, and resets those that cannot be finished")
    func streams() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let count = 5_000_000
            let response = try await transport.send(call("/stream", query: "\(count)"))
            let bytes = try await response.collect(limit: count)
            #expect(bytes.count == count)
            #expect(stride(from: 0, to: count, by: 997).allSatisfy { bytes[$0] == UInt8($0 % 251) })
            let broken = try await transport.send(call("/broken"))
            await #expect(throws: BackupFailure.self) { _ = try await broken.collect(limit: 2_000_000) }
            // A body that nobody reads does not stop the others.
            do {
                let dropped = try await transport.send(call("/stream", query: "100000000"))
                #expect(dropped.status == 200)
            }
            #expect(try await text(try await transport.send(call("/count"))) == "0")
            await transport.close()
        }
    }

    @Test("tells waiting calls when the server goes away, and cancels those that are given up")
    func failures() async throws {
        try await withServer { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let given = Task { try await transport.send(call("/wait")) }
            let waiting = Task { try await transport.send(call("/wait")) }
            while server.session.arrivals.count < 2 { try await Task.sleep(for: .milliseconds(5)) }
            given.cancel()
            do {
                _ = try await given.value
                Issue.record("a cancelled call was answered")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .cancelled)
            }
            #expect(try await text(try await transport.send(call("/count"))) == "0")
            server.session.record.withLockedValue { $0.connection }?.close(reason: "gone")
            do {
                _ = try await waiting.value
                Issue.record("a call over a lost connection was answered")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .unavailable)
            }
        }
    }

    @Test("survives a slow link: the limiter keeps the rate")
    func rate() async throws {
        try await withServer { server in
            let connection = try await server.connect {
                $0.sendRate = RateLimit(bytesPerSecond: 1_000_000, burstBytes: 100_000)
            }
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let start = ContinuousClock.now
            let body = [UInt8](repeating: 1, count: 600_000)
            #expect(try await text(try await transport.send(call("/count", body: body))) == "600000")
            let time = ContinuousClock.now - start
            #expect(time > .milliseconds(350), "\(time)")
            await transport.close()
        }
    }

    @Test("ends where its client makes no call for too long, though it answers PING")
    func idle() async throws {
        try await withServer {
            $0.timers = ConnectionTimers(keepalive: .milliseconds(300), idle: .milliseconds(1500))
        } _: { server in
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            #expect(try await text(try await transport.send(call("/count"))) == "0")
            let start = ContinuousClock.now
            #expect(await server.session.ended() != nil)
            #expect(ContinuousClock.now - start > .milliseconds(400))
            await transport.close()
        }
    }

    @Test("ends where the client gives no sign of life")
    func silence() async throws {
        try await withServer {
            $0.timers = ConnectionTimers(keepalive: .seconds(2), idle: .seconds(600))
        } _: { server in
            // Its client answers PING, so this one stays.
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            try await Task.sleep(for: .seconds(6))
            #expect(try await text(try await transport.send(call("/count"))) == "0")
            await transport.close()
            #expect(await server.session.ended() == .closed)
        }
        try await withServer {
            $0.timers = ConnectionTimers(keepalive: .seconds(2), idle: .seconds(600))
        } _: { server in
            let (client, _) = try await RawClient.connect(to: server.server)
            try await client.send("GET /api2/json/backup HTTP/1.1\r\nUpgrade: proxmox-backup-protocol-v1\r\n\r\n")
            try await client.send(RawFrame.preface + RawFrame.settings)
            #expect(await server.session.ended() == .lost(reason: "connection error: the client gives no sign of life"))
            try? await client.close()
        }
    }
}
