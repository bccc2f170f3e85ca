import AccessControl
import BackupFormats
import BackupProtocol
import CairnTestSupport
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

/// An endpoint in front of something that answers all other paths, with users and doubles behind it.
final class EndpointWorld: Sendable {
    /// May change everything.
    static let boss = "boss@pbs:the-boss-secret"
    /// May read.
    static let reader = "reader@pbs:the-reader-secret"
    /// May nothing.
    static let guest = "guest@pbs:the-guest-secret"

    let folder: TemporaryFolder
    let database: StateDatabase
    let access: AccessControl
    let hub: ScriptedHub
    let administration = FakeAdministration()
    let endpoint: PeerSyncEndpoint
    let plain: PeerSyncEndpoint

    init(
        limits: StrangerGate.Limits = .init(),
        delays: CallDelays = CallDelays(unauthenticated: .zero, unauthorized: .zero),
        patience: Duration = PeerLimits.sendPatience, serve: @escaping ScriptedHub.Serve = { _ in .clean }
    ) async throws {
        folder = try TemporaryFolder()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        database = try StateDatabase(folder: try StateFolder(path: folder.path + "/state"))
        access = try AccessControl(
            database: database, hashing: PasswordHasher(width: 2), time: .system, log: log)
        let root = access.inProcessRoot()
        for (user, role) in [(Self.boss, Role.admin), (Self.reader, .audit), (Self.guest, .noAccess)] {
            let parts = user.split(separator: ":")
            let id = try #require(AuthID(parsing: parts[0]))
            try await access.addUser(NewUser(id: id, password: String(parts[1])), by: root)
            try access.changeACL(ACLChange(path: .root, role: role, subject: id), by: root)
        }
        hub = ScriptedHub(serve)
        let gate = StrangerGate(limits: limits)
        endpoint = PeerSyncEndpoint(
            before: Elsewhere(), hub: hub, administration: administration, access: access, gate: gate,
            workers: WorkerPool(name: "test", width: 1), delays: delays, patience: patience, time: .system,
            log: log)
        plain = PeerSyncEndpoint(hub: hub, gate: gate, log: log)
    }

    deinit { database.close() }

    static func basic(_ user: String) -> (name: String, value: String) {
        ("authorization", "Basic " + Base64.encode(Array(user.utf8)))
    }

    // MARK: - Sync

    static func syncRequest(
        _ headers: [(name: String, value: String)] = [("content-type", "application/connect+proto")],
        method: String = "POST", path: String = PeerCall.sync.rawValue, peer: String = "192.0.2.7:4444",
        isHTTP2: Bool = true, stream: (any ByteSource)? = Silence()
    ) -> RESTRequest {
        var request = RESTRequest(method: method, target: path, headers: headers, peer: peer, isHTTP2: isHTTP2)
        request.stream = stream
        return request
    }

    func response(_ request: RESTRequest) async throws -> RESTResponse {
        guard case .response(let response) = await endpoint.handle(request) else {
            throw BackupFailure(.internalFault, "no response")
        }
        return response
    }

    /// The messages of an answer, as they come.
    static func messages(_ response: RESTResponse) throws -> IncomingMessages {
        try #require(response.status == 200)
        #expect(response.header("content-type") == "application/connect+proto")
        let source: any ByteSource =
            switch response.body {
            case .bytes(let bytes): Pieces(bytes)
            case .stream(let source, _): source
            }
        return IncomingMessages(source, encoding: .identity, takesEnd: true)
    }

    /// How a stream ends that has no messages before.
    static func end(_ response: RESTResponse) async throws -> StreamEnd {
        guard case .end(let bytes)? = try await messages(response).next() else {
            throw BackupFailure(.internalFault, "no end")
        }
        return try StreamEnd(parsing: bytes)
    }

    // MARK: - Calls

    func call(
        _ call: PeerCall, _ body: [UInt8], type: String = "application/proto",
        as user: String? = EndpointWorld.boss, headers: [(name: String, value: String)] = []
    ) async throws -> (status: Int, body: [UInt8], response: RESTResponse) {
        var request = RESTRequest(
            method: "POST", target: call.rawValue, headers: [("content-type", type)] + headers, body: body,
            peer: "192.0.2.8:1")
        if let user { request.headers.append(Self.basic(user)) }
        let response = try await response(request)
        guard case .bytes(let bytes) = response.body else { return (response.status, [], response) }
        return (response.status, bytes, response)
    }

    /// The code of a refused call, with its status.
    func refusal(
        _ name: PeerCall, _ body: [UInt8], type: String = "application/proto", as user: String? = EndpointWorld.boss,
        headers: [(name: String, value: String)] = []
    ) async throws -> String {
        let answer = try await call(name, body, type: type, as: user, headers: headers)
        #expect(answer.response.header("content-type") == "application/json")
        let code = try JSONValue(parsing: answer.body)["code"]?.stringValue
        return "\(answer.status) \(code ?? "")"
    }
}

/// Answers all other paths.
struct Elsewhere: RESTHandler {
    func bodyLimit(method: String, target: String) -> Int { 77 }
    func takesStream(method: String, target: String) -> Bool { target == "/talk" }
    func identify(_ request: RESTRequest) async -> AuthID? { .root }
    func handle(_ request: RESTRequest) async -> RESTAnswer { .response(RESTResponse(status: 299)) }
}

/// A hub that does what a test says.
final class ScriptedHub: PeerHub {
    typealias Serve = @Sendable (any PeerStream) async -> StreamEnd

    private let body: Serve
    /// Sessions that have begun, and those that are over.
    let counts = Mutex((begun: 0, ended: 0))

    init(_ body: @escaping Serve) { self.body = body }

    func serve(_ stream: any PeerStream) async -> StreamEnd {
        counts.withLock { $0.begun += 1 }
        defer { counts.withLock { $0.ended += 1 } }
        return await body(stream)
    }

    /// Sends back what it gets, until it gets no more.
    static let echo: Serve = { stream in
        do {
            while let item = try await stream.receive() { try await stream.send(item) }
            return .clean
        } catch let failure as PeerSyncFailure {
            return StreamEnd(failure)
        } catch {
            return StreamEnd(code: .internal, message: "\(error)")
        }
    }

    /// Trusts everybody, then waits for them to go.
    static let trusting: Serve = { stream in
        stream.trust()
        return await echo(stream)
    }
}
