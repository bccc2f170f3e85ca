import BackupFormats
import CairnTestSupport
import Logging
import PeerSync
import PeerSyncProtocol
import Platform
import StateDatabase
import SwiftProtobuf
import Synchronization
import Testing

/// A hub with everything that belongs to it, in a folder of its own.
final class TestHub: Sendable {
    static let workers = WorkerPool(name: "peers-test", width: 2)

    let folder: TemporaryFolder
    let database: StateDatabase
    let directory: PeerDirectory
    let states = PeerStates()
    let store: OperationStore
    let service: HubService
    let administration: PeerService
    let clock: ManualClock

    /// - Parameter folder: That of a hub before it, to start it again.
    init(
        in folder: TemporaryFolder? = nil, clock: ManualClock = ManualClock(),
        settings: HubSettings = TestHub.settings
    ) throws {
        self.folder = try folder ?? TemporaryFolder()
        self.clock = clock
        database = try StateDatabase(folder: StateFolder(path: self.folder.path + "/state"))
        directory = try PeerDirectory(database: database, name: "hub")
        store = OperationStore(database: database)
        let log = Logger(label: "hub") { _ in SwiftLogNoOpLogHandler() }
        service = try HubService(
            directory: directory, states: states, store: store, database: database, settings: settings,
            workers: Self.workers, time: clock.source, log: log)
        administration = PeerService(
            directory: directory, states: states, hub: service, database: database, workers: Self.workers,
            time: clock.source, log: log)
    }

    /// Refusals come at once; nothing else is hurried.
    static var settings: HubSettings {
        var settings = HubSettings()
        settings.refusalDelay = .milliseconds(1)
        return settings
    }

    /// Serves a new stream.
    func connect(capacity: Int = 64) -> (stream: MemoryStream, end: Task<StreamEnd, Never>) {
        let pair = StreamPair(capacity: capacity)
        let end = Task { [service] in
            let end = await service.serve(pair.hub)
            pair.hub.end(end)
            return end
        }
        return (pair.member, end)
    }

    /// A new token that is good once, or as `request` says.
    func token(_ grants: [PeerGrant] = [], lifetime: Int64? = 900, maxUses: Int? = 1) async throws -> PairingToken {
        try await administration.createToken(
            PairingTokenRequest(label: "test", grants: grants, lifetime: lifetime, maxUses: maxUses)
        ).token
    }

    /// A member that has paired, its session established.
    func pair(_ identity: PeerIdentity, named name: String) async throws -> TestMember {
        let member = TestMember(identity, named: name, of: self)
        try await member.open(secret: try await token().secret)
        return member
    }

    /// Operations that are kept of a member.
    func operations(of keyID: String) async throws -> [StoredPeerOperation] {
        try await database.read { try $0.peerOperations(PeerOperationFilter(keyID: keyID)) }
    }
}

/// The member's end of one session, step by step.
final class TestMember: Sendable {
    let identity: PeerIdentity
    let name: String
    let stream: MemoryStream
    let end: Task<StreamEnd, Never>
    private let hub: (keyID: String, name: String)
    let session = Mutex<PeerSession?>(nil)

    init(_ identity: PeerIdentity, named name: String, of hub: TestHub, capacity: Int = 64) {
        self.identity = identity
        self.name = name
        self.hub = (hub.directory.identity.keyID, hub.directory.instanceID)
        (stream, end) = hub.connect(capacity: capacity)
    }

    /// Exchanges keys and sends the handshake.
    ///
    /// - Throws: ``StreamEnd`` where the hub ends the session meanwhile.
    func introduce(secret: String = "", capabilities: PeerCapabilities = []) async throws {
        var session = PeerSession(
            member: identity, instanceID: name, of: (hub.keyID, hub.name), pairingSecret: secret,
            capabilities: capabilities, privateKey: try HybridPrivateKey())
        try await stream.send(session.opening().serializedBytes())
        while session.phase != .established {
            guard let bytes = try await stream.receive() else { break }
            for case .send(let item) in try session.receive(bytes) { try await stream.send(item.serializedBytes()) }
        }
        self.session.withLock { $0 = session }
    }

    /// Introduces itself and waits until the hub has accepted it.
    func open(secret: String = "", capabilities: PeerCapabilities = []) async throws {
        try await introduce(secret: secret, capabilities: capabilities)
        guard case .config = try await receive() else { throw Unexpected() }
        guard case .resources = try await receive() else { throw Unexpected() }
        guard case .heartbeat = try await receive() else { throw Unexpected() }
    }
    struct Unexpected: Error {}

    /// The bytes of a sealed item, not sent yet.
    func seal(_ item: PeerItem) throws -> [UInt8] {
        try session.withLock { session in
            if case .heartbeat = item { return try session?.heartbeat().serializedBytes() ?? [] }
            return try session?.seal(item).serializedBytes() ?? []
        }
    }

    func send(_ item: PeerItem) async throws { try await stream.send(seal(item)) }

    /// The next item of the hub.
    ///
    /// - Throws: ``StreamEnd`` where it has ended the session.
    func receive() async throws -> PeerItem {
        guard let bytes = try await stream.receive() else { throw StreamEnd.clean }
        let effects = try session.withLock { try $0?.receive(bytes) ?? [] }
        guard case .received(let item)? = effects.first else { throw Unexpected() }
        return item
    }

    /// Sends an item that has an answer, and waits for that: everything before it has then been applied.
    ///
    /// - Parameter kept: Operations that the hub is to keep, whose counter is 1.
    func settle(keeping kept: [Int64] = []) async throws {
        try await send(.manifest(ids: kept + [.max], counters: [Int64](repeating: 1, count: kept.count + 1)))
        while true {
            if case .operationRequest(let ids) = try await receive(), ids == [.max] { return }
        }
    }
}

/// Waits for a condition, for as long as a slow machine may need.
func eventually(_ what: Comment, _ condition: () async throws -> Bool) async throws {
    for _ in 0..<12_000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record(what)
}
