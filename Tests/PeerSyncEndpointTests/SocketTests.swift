import AccessControl
import BackupFormats
import BackupHTTP2
import BackupProtocol
import BlobCoding
import CairnTestSupport
import Listener
import Logging
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Platform
import StateDatabase
import SwiftProtobuf
import Synchronization
import Testing

@testable import PeerSyncEndpoint

@Suite("Peer sync over sockets", .serialized, .timeLimit(.minutes(5)))
struct SocketTests {
    @Test("takes no memory for what strangers promise, and serves others afterwards", arguments: [true, false])
    func hostileBytes(plain: Bool) async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.echo)
        try await ServedEndpoint.with(world.endpoint, plain: plain) { served in
            let bomb = try #require(Gzip.compress([UInt8](repeating: 0, count: EnvelopeReader.limitOfStrangers + 1)))
            for (bytes, code) in [
                ([0, 0xff, 0xff, 0xff, 0xff], StreamEnd.Code.resourceExhausted), ([0, 0, 1, 0, 1], .resourceExhausted),
                (Envelope(payload: bomb, isCompressed: true).encoded, .resourceExhausted),
                ([0x40, 0, 0, 0, 0], .invalidArgument),
            ] {
                let stream = try await served.open([("connect-content-encoding", "gzip")])
                try await stream.send(bytes)
                #expect(try await served.end(of: stream)?.code == code)
                stream.close()
            }
            let stream = try await served.open()
            // Piece by piece, and the prefix apart from the payload.
            for byte in Envelope(payload: [1, 2, 3]).encoded { try await stream.send([byte]) }
            let messages = IncomingMessages(stream.body, encoding: .identity, takesEnd: true)
            #expect(try await messages.next() == .message([1, 2, 3]))
            stream.finish()
            #expect(try await messages.next() == .end(StreamEnd.clean.encoded))
            #expect(try await messages.next() == nil)
        }
    }

    @Test("ends the session of a member that takes nothing, and holds little for it meanwhile")
    func slowReader() async throws {
        let sent = Mutex(0)
        let world = try await EndpointWorld(patience: .milliseconds(200)) { stream in
            stream.trust()
            do {
                while true {
                    try await stream.send([UInt8](repeating: 5, count: 64 << 10))
                    sent.withLock { $0 += 64 << 10 }
                }
            } catch { return StreamEnd(code: .internal, message: "too slow") }
        }
        try await ServedEndpoint.with(world.endpoint) { served in
            let stream = try await served.open()
            try await stream.send(Envelope(payload: []).encoded)
            try await eventually("the end of the session") { world.hub.counts.withLock { $0.ended } == 1 }
            #expect(sent.withLock { $0 } < 64 << 20)
            // What it has not taken is not the whole: it must not see an end in order.
            let end = try? await served.end(of: stream)
            #expect(end == nil)
            stream.close()
        }
    }

    @Test("frees the place of a stranger whose connection is gone")
    func places() async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.echo)
        try await ServedEndpoint.with(world.endpoint, plain: true) { served in
            var held: [DuplexStream] = []
            for _ in 0..<PeerLimits.strangersPerAddress { held.append(try await served.open()) }
            for stream in held { _ = try await stream.head() }
            let refused = try await served.open()
            #expect(try await served.end(of: refused)?.code == .resourceExhausted)
            refused.close()
            for stream in held { stream.close() }
            try await eventually("the end of all") { world.hub.counts.withLock { $0.ended } == held.count }
            try await eventually("a place") {
                let stream = try await served.open()
                defer { stream.close() }
                // Where there is no place, it may be over already.
                try? await stream.send(Envelope(payload: [8]).encoded)
                let messages = IncomingMessages(stream.body, encoding: .identity, takesEnd: true)
                return try await messages.next() == .message([8])
            }
        }
    }

    @Test("is refused over HTTP/1.1 at once, where the state service goes on working")
    func oldHTTP() async throws {
        let world = try await EndpointWorld()
        try await ServedEndpoint.with(world.endpoint) { served in
            let trust = try #require(served.trust)
            func send(_ call: PeerCall, _ body: [UInt8]) async throws -> HTTPResponse {
                let connection = try await ServerConnection.connect(to: served.server, trust: trust)
                let response = try await connection.send(
                    HTTPRequest(
                        method: "POST", target: call.rawValue,
                        headers: [
                            ("content-type", StreamHead.contentType), EndpointWorld.basic(EndpointWorld.reader),
                        ], body: body))
                await connection.close()
                return response
            }
            let refused = try await send(.sync, [])
            #expect(refused.status == 505)
            #expect(refused.headers.contains { $0.name == "connection" && $0.value == "close" })
            let states = try await send(.states, Envelope(payload: []).encoded)
            guard case .bytes(let bytes) = states.body else { throw CancellationError() }
            let messages = IncomingMessages(Pieces(bytes), encoding: .identity, takesEnd: true)
            for _ in 0..<2 {
                guard case .message(let message)? = try await messages.next() else { throw CancellationError() }
                #expect(try WirePeerState(serializedBytes: message).state == .connected)
            }
            #expect(try await messages.next() == .end(StreamEnd.clean.encoded))
        }
    }

    @Test("carries a member from its token to its stored operation, again without a secret, and past its older session")
    func wholeSession() async throws {
        let folder = try TemporaryFolder()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let database = try StateDatabase(folder: try StateFolder(path: folder.path + "/state"))
        defer { database.close() }
        let directory = try PeerDirectory(database: database, name: "the-hub")
        let states = PeerStates()
        let workers = WorkerPool(name: "test", width: 2)
        let hub = try HubService(
            directory: directory, states: states, store: OperationStore(database: database), database: database,
            workers: workers, time: .system, log: log)
        let service = PeerService(
            directory: directory, states: states, hub: hub, database: database, workers: workers, time: .system,
            log: log)
        let request = PairingTokenRequest(label: "test", grants: [try PeerGrant(.readConfig, scopes: ["*"])])
        let token = try await service.createToken(request).token
        let identity = try PeerIdentity()
        let endpoint = PeerSyncEndpoint(hub: hub, gate: StrangerGate(), log: log)
        let dialer = HTTP2PeerDialer(log: log)

        var older: DrivenMember?
        try await ServedEndpoint.with(endpoint, plain: true) { served in
            let url = try HubAddress(parsing: "http://127.0.0.1:\(served.address.port)")
            for (round, secret) in [token.secret, ""].enumerated() {
                let member = try DrivenMember(
                    over: try await dialer.dial(url), identity: identity, name: "member", token: token, secret: secret)
                try await member.begin()
                guard case .config = try await member.receive() else { throw CancellationError() }
                guard case .resources = try await member.receive() else { throw CancellationError() }
                let id = Int64(round + 1)
                try await member.send(.manifest(ids: [id], counters: [1]))
                guard case .operationRequest(let ids) = try await member.receive() else { throw CancellationError() }
                #expect(ids == [id])
                var event = WireOperationEvent()
                event.updatedOperations.operations = [Self.operation(id)]
                try await member.send(.operations(event))
                try await eventually("the operation") {
                    let stored = try await service.operations(PeerOperationFilter(keyID: identity.keyID))
                    return stored.map(\.stored.record.originalID) == [id]
                }
                if let older {
                    await #expect(throws: StreamEnd.self) { while true { _ = try await older.receive() } }
                    older.close()
                }
                older = member
            }
            // Forgotten, it hears the end of its session, and nothing stays.
            try await service.remove("member")
            let last = try #require(older)
            await #expect(throws: StreamEnd.clean) { while true { _ = try await last.receive() } }
            #expect(try await service.operations(PeerOperationFilter()).isEmpty)
            let again = try DrivenMember(
                over: try await dialer.dial(url), identity: identity, name: "member", token: token)
            await #expect(throws: StreamEnd.self) {
                try await again.begin()
                while true { _ = try await again.receive() }
            }
            again.close()
            last.close()
        }
        hub.stop()
    }

    private static func operation(_ id: Int64) -> WireOperation {
        var operation = WireOperation()
        operation.id = id
        operation.modno = 1
        operation.flowID = id
        operation.repoID = "repo"
        operation.repoGuid = "guid"
        operation.planID = "plan"
        operation.instanceID = "member"
        operation.unixTimeStartMs = 1
        operation.status = .statusSuccess
        operation.operationBackup = .init()
        return operation
    }
}
