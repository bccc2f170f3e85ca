import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import CairnTestSupport
import Datastore
import ManagementAPI
import RESTAPI
import Synchronization
import Tasks
import Testing

/// The way to another world, as a server has it: its REST API and its sessions, without a network.
final class Loop: RemoteConnector {
    let world: World
    let caller: World.Caller
    let faults = Mutex(Faults())

    /// What goes wrong on the way.
    struct Faults: Sendable {
        /// Answers of reader sessions that pass before the connection breaks; nil for all.
        var answersLeft: Int?
        /// Changes what a path of a session answers.
        var lie: (@Sendable (BackupRequestHead, BackupResponse) async throws -> BackupResponse)?
        /// Sessions that were opened.
        var opened = 0
        /// Chunks that were asked for.
        var chunks = 0
    }

    init(to world: World, as caller: World.Caller) {
        self.world = world
        self.caller = caller
    }

    func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection { Connection(loop: self) }

    /// Whether an answer may pass; breaks the connection for good where not.
    fileprivate func pass() -> Bool {
        faults.withLock { faults in
            guard let left = faults.answersLeft else { return true }
            faults.answersLeft = max(0, left - 1)
            return left > 0
        }
    }

    fileprivate var isBroken: Bool { faults.withLock { $0.answersLeft == 0 } }

    private struct Connection: RemoteConnection {
        let loop: Loop

        func call(_ method: String, _ path: String, _ parameters: JSONObject) async throws -> JSONValue {
            var query: [(String, String)] = []
            if method != "POST" {
                query = parameters.members.map { ($0.name, $0.value.stringValue ?? $0.value.compactText) }
            }
            let reply = try await loop.world.send(
                method, path, as: loop.caller, query: query, json: method == "POST" ? .object(parameters) : nil)
            guard reply.status == 200 else {
                throw BackupFailure(reply.status == 404 ? .notFound : .conflict, reply.text)
            }
            return reply.data
        }

        func open(_ protocolID: ProtocolID, _ request: OpenRequest) async throws -> any BackupTransport {
            guard loop.pass() else { throw BackupFailure(.unavailable, "the network is down") }
            let answer = await loop.world.answer(
                "GET", protocolID == .backup ? "/api2/json/backup" : "/api2/json/reader", as: loop.caller,
                query: request.parameters(for: protocolID).map { ($0.name, $0.value) },
                headers: [("connection", "upgrade"), ("upgrade", protocolID.rawValue)])
            guard case .upgrade(_, let session) = answer else {
                throw BackupFailure(.conflict, try await loop.world.reply(answer).text)
            }
            loop.faults.withLock { $0.opened += 1 }
            return Transport(inner: InProcessTransport(session), loop: loop)
        }

        func close() async {}
    }

    private struct Transport: BackupTransport {
        let inner: InProcessTransport
        let loop: Loop

        func send(_ request: BackupRequest) async throws -> BackupResponse {
            guard loop.pass() else {
                await inner.cut(reason: "the network is down")
                throw BackupFailure(.unavailable, "the network is down")
            }
            let lie = loop.faults.withLock { faults in
                if request.head.path == "/chunk" { faults.chunks += 1 }
                return faults.lie
            }
            let response = try await inner.send(request)
            // A session that was cut refuses what it has begun; over a network nobody would hear of it.
            if response.status != 200, loop.isBroken { throw BackupFailure(.unavailable, "the network is down") }
            return try await lie?(request.head, response) ?? response
        }

        func close() async { await inner.close() }
    }
}

/// Two worlds: `source` has datastore `main`, `target` has `copy` and knows the source as the remote `there`.
final class SyncWorld: Sendable {
    let source: World
    let target: World
    let loop: Loop
    let from: Datastore
    let to: Datastore
    /// Who acts at the target.
    let admin: World.Caller

    init() async throws {
        source = try World()
        loop = Loop(to: source, as: try await source.user("reader", .admin))
        var policy = SyncPolicy()
        policy.pause = .milliseconds(1)
        policy.patience = .seconds(30)
        policy.attempts = 2
        policy.width = 3
        target = try World(connector: loop, policy: policy)
        from = try source.addStore("main")
        to = try target.addStore("copy")
        admin = try await target.user("admin", .admin)
        let reply = try await target.send(
            "POST", "/config/remote", as: admin,
            json: ["name": "there", "host": "example.org", "auth-id": "reader@pbs", "password": "secret-reader"])
        try #require(reply.status == 200, "\(reply.text)")
    }

    /// Runs a pull or push and gives how it ended, with its log.
    func run(
        _ direction: SyncRequest.Direction = .pull, _ options: JSONObject = [:]
    ) async throws -> (status: String, log: String) {
        var parameters: JSONObject = ["store": "copy", "remote": "there", "remote-store": "main"]
        for member in options.members { parameters[member.name] = member.value }
        let reply = try await target.send("POST", "/\(direction.rawValue)", as: admin, json: .object(parameters))
        try #require(reply.status == 200, "\(reply.text)")
        let upid = try UPID(parsing: try #require(reply.data.stringValue))
        await target.tasks.waitUntilStopped(upid)
        let status = try #require(try target.tasks.info(upid)?.status)
        let log = try #require(try target.tasks.wholeLog(upid))
        return (status, String(decoding: log, as: UTF8.self))
    }

    /// Makes a backup at the source.
    @discardableResult
    func backUp(_ snapshot: String, seed: UInt64 = 1, pieces: Int = 8) throws -> Manifest {
        var backup = SampleBackup(snapshot, seed: seed, pieces: pieces)
        backup.owner = try source.required(AuthID(parsing: "reader@pbs"))
        return try backup.run(in: from)
    }

    /// What the target has, as text.
    var copied: [String] {
        get throws { try to.snapshots(in: .root).filter(\.isFinished).map { "\($0.name)" } }
    }

    func lie(_ lie: @escaping @Sendable (BackupRequestHead, BackupResponse) async throws -> BackupResponse) {
        loop.faults.withLock { $0.lie = lie }
    }
}
