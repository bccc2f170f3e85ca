import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

@Suite("The budget for request bodies", .serialized)
struct BudgetTests {
    private func session(on server: TestServer) async throws -> RawClient {
        let (client, _) = try await RawClient.connect(to: server.server)
        try await client.send("GET /api2/json/backup HTTP/1.1\r\nUpgrade: proxmox-backup-protocol-v1\r\n\r\n")
        try await client.send(RawFrame.preface + RawFrame.settings)
        _ = try await client.text(until: "\r\n\r\n")
        return client
    }

    private func unfinishedBody(_ stream: UInt32, bytes: Int) -> [UInt8] {
        RawFrame.headers(
            stream: stream,
            [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/count")], endStream: false)
            + RawFrame.frame(type: 0, flags: 0, stream: stream, [UInt8](repeating: 0, count: bytes))
    }

    /// Three clients that begin 200 bodies each and end none, scaled down by a hundred.
    @Test("lets an honest client through beside three that never end their bodies")
    func hostile() async throws {
        try await withServer {
            $0.bodyBudgetBytes = 1_300_000
            $0.connectionBodyBytes = 2_600_000
        } _: { server in
            var hostile: [RawClient] = []
            for _ in 0..<3 {
                let client = try await session(on: server)
                hostile.append(client)
                for index in 0..<200 {
                    // Not awaited: the server stops reading.
                    client.channel.writeAndFlush(
                        ByteBuffer(bytes: unfinishedBody(UInt32(index * 2 + 1), bytes: 6000)), promise: nil)
                }
            }
            let connection = try await server.connect()
            let transport = try await connection.upgrade(to: .backup, query: "", headers: [])
            let body = [UInt8](repeating: 1, count: 100_000)
            for _ in 0..<5 {
                let response = try await transport.send(
                    BackupRequest(head: BackupRequestHead(method: "POST", path: "/count"), body: body))
                #expect(try await response.collect(limit: 100) == Array("100000".utf8))
            }
            await transport.close()
            for client in hostile { try? await client.cut() }
        }
    }

    @Test("ends a connection that leaves too much unfinished")
    func greedy() async throws {
        try await withServer {
            $0.bodyBudgetBytes = 500_000
            $0.connectionBodyBytes = 1_000_000
        } _: { server in
            let client = try await session(on: server)
            for index in 0..<100 {
                client.channel.writeAndFlush(
                    ByteBuffer(bytes: unfinishedBody(UInt32(index * 2 + 1), bytes: 16_000)), promise: nil)
            }
            let end = await server.session.ended()
            #expect(end == .lost(reason: "the client left too many request bodies unfinished"))
        }
    }

    @Test("forgets what a connection held when it is over")
    func accounting() {
        let budget = BodyBudget(limit: 100, connectionLimit: 1000)
        let overloads = NIOLockedValueBox(0)
        let first = budget.join { overloads.withLockedValue { $0 += 1 } }
        let second = budget.join {}
        #expect(first.mayRead())
        first.take(80)
        second.take(60)
        #expect(budget.heldBytes == 140)
        #expect(first.mayRead(), "the first in the queue reads on")
        #expect(!second.mayRead())
        first.finish(80)
        first.giveFinished(80)
        #expect(second.mayRead())
        first.take(90)
        first.finish(40)
        first.leave()
        #expect(budget.heldBytes == 100)
        first.giveFinished(40)
        first.giveUnfinished(50)
        #expect(budget.heldBytes == 60)
        second.giveUnfinished(60)
        #expect(budget.heldBytes == 0)
        #expect(overloads.withLockedValue { $0 } == 0)
        second.take(1001)
        let third = budget.join { overloads.withLockedValue { $0 += 1 } }
        third.take(1001)
        #expect(overloads.withLockedValue { $0 } == 1)
    }
}
