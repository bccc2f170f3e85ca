package import BackupFormats
package import Logging
package import PeerSyncProtocol
package import Platform
package import StateDatabase
import SwiftProtobuf
import Synchronization

/// What administrators do with peers, done on the directory, the hub and the state database.
package final class PeerService: PeerAdministration {
    /// Operations that one question may bring.
    private static let maxListed = 10_000

    let directory: PeerDirectory
    let states: PeerStates
    let hub: HubService
    let database: StateDatabase
    let time: TimeSource
    let log: Logger
    private let workers: WorkerPool
    let logged = Mutex<Set<PeerAlert>>([])

    package init(
        directory: PeerDirectory, states: PeerStates, hub: HubService, database: StateDatabase, workers: WorkerPool,
        time: TimeSource, log: Logger
    ) {
        self.directory = directory
        self.states = states
        self.hub = hub
        self.database = database
        self.workers = workers
        self.time = time
        self.log = log
    }

    package var instanceID: String { directory.instanceID }
    package var keyID: String { directory.identity.keyID }

    // MARK: - Pairing

    package func createToken(
        _ request: PairingTokenRequest
    ) async throws -> (token: PairingToken, description: PairingTokenDescription) {
        let (secret, description) = try await workers.run { [self] in
            try hub.tokens.create(request, now: time.seconds)
        }
        log.notice("pairing token made", metadata: ["token": "\(description.id)", "label": "\(description.label)"])
        return (PairingToken(keyID: keyID, secret: secret, instanceID: instanceID), description)
    }

    package func tokens() async throws -> [PairingTokenDescription] {
        try await workers.run { [self] in try hub.tokens.all() }
    }

    package func removeToken(_ id: String) async throws {
        try await workers.run { [self] in try hub.tokens.remove(id) }
    }

    package func join(_ request: JoinRequest) async throws -> PeerOverview {
        let token = request.token
        guard token.keyID != keyID else {
            throw BackupFailure(
                .invalidInput, "the pairing token is one of this instance itself",
                hints: ["Make the token on the hub, and add it on the instance that is to report to it."])
        }
        let peer = Peer(
            keyID: token.keyID, instanceID: token.instanceID, role: .hub, address: request.address,
            grants: request.grants, pairingSecret: token.secret, added: time.seconds)
        try await workers.run { [self] in try directory.add(peer) }
        log.notice("hub added", metadata: ["peer": "\(peer.instanceID)", "url": "\(request.address)"])
        return try await self.peer(peer.keyID)
    }

    // MARK: - Peers

    package func peers() async throws -> [PeerOverview] {
        let peers = directory.peers
        let counts = try await database.read { state in
            try peers.map { $0.role == .member ? try state.peerOperationCount(of: $0.keyID) : 0 }
        }
        return zip(peers, counts).map(overview)
    }

    package func peer(_ name: String) async throws -> PeerOverview {
        let peer = try directory.peer(named: name)
        return overview(peer, operations: try await database.read { try $0.peerOperationCount(of: peer.keyID) })
    }

    private func overview(_ peer: Peer, operations: Int) -> PeerOverview {
        let state = states.state(of: peer.keyID)
        let session = hub.session(of: peer.keyID)
        return PeerOverview(
            peer: peer, state: state?.state ?? .disconnected, message: state?.statusMessage ?? "",
            lastHeartbeat: state?.lastHeartbeatMillis ?? 0, repos: state?.knownRepos ?? [],
            plans: state?.knownPlans ?? [], config: state?.hasRemoteConfig == true ? state?.remoteConfig : nil,
            sharesLogs: session?.capabilities.contains(.logs) ?? false, operations: operations)
    }

    package func remove(_ name: String) async throws {
        let peer = try directory.peer(named: name)
        try await workers.run { [self] in
            try directory.remove(keyID: peer.keyID) { state in
                try OperationStore.remove(member: peer.keyID, in: state)
                try state.removePeerViewAndPushes(of: peer.keyID)
            }
        }
        log.notice("peer removed", metadata: ["peer": "\(peer.instanceID)", "key": "\(peer.keyID)"])
        Task { [self] in
            do { try await hub.store.sweep() } catch {
                log.warning("operations of a removed peer not swept", metadata: ["reason": "\(error)"])
            }
        }
    }

    package func setGrants(_ name: String, _ grants: [PeerGrant]) async throws -> PeerOverview {
        let peer = try directory.peer(named: name)
        try await workers.run { [self] in _ = try directory.update(keyID: peer.keyID) { $0.grants = grants } }
        log.notice("permissions of peer changed", metadata: ["peer": "\(peer.instanceID)"])
        return try await self.peer(peer.keyID)
    }

    package func states(follows: Bool) -> AsyncStream<WirePeerState> {
        // Hubs first, then members. (Spec: backrest-sync §5.11.)
        let peers = directory.peers
        let ordered = peers.filter { $0.role == .hub } + peers.filter { $0.role == .member }
        return states.stream(of: ordered.map(\.keyID), follows: follows)
    }

    // MARK: - Operations

    package func operations(_ filter: PeerOperationFilter) async throws -> [PeerOperation] {
        var filter = filter
        guard (0...Self.maxListed).contains(filter.limit) else {
            throw BackupFailure(.invalidInput, "at most \(Self.maxListed) operations can be listed at once")
        }
        if let name = filter.keyID { filter.keyID = try directory.peer(named: name).keyID }
        let stored = try await database.read { [filter] in try $0.peerOperations(filter) }
        return try stored.map(read)
    }

    package func operation(_ id: Int64) async throws -> PeerOperation {
        guard let stored = try await database.read({ try $0.peerOperation(id) }) else {
            throw BackupFailure(.notFound, "no operation \(id) of a peer is known")
        }
        return try read(stored)
    }

    func read(_ stored: StoredPeerOperation) throws -> PeerOperation {
        var message: WireOperation
        do { message = try WireOperation(serializedBytes: stored.record.payload) } catch {
            throw BackupFailure(.corruptData, "The operation \(stored.id) of a peer cannot be read", cause: error)
        }
        message.originalInstanceKeyid = stored.record.keyID
        let instance = directory.peer(keyID: stored.record.keyID)?.instanceID ?? stored.record.instance
        return PeerOperation(stored: stored, message: message, instanceID: instance)
    }

    package func log(of operation: Int64) async throws -> AsyncThrowingStream<[UInt8], any Error> {
        let found = try await self.operation(operation)
        guard !found.message.logref.isEmpty else {
            throw BackupFailure(.notFound, "the operation \(operation) has no log")
        }
        guard let session = hub.session(of: found.stored.record.keyID) else {
            throw BackupFailure(.conflict, "'\(found.instanceID)' is not connected; its logs are not kept here")
        }
        guard session.capabilities.contains(.logs) else {
            throw BackupFailure(
                .unsupported, "'\(found.instanceID)' does not show its logs",
                hints: ["Only Cairn does; the logs of a Backrest are seen there."])
        }
        return try session.logs.open(found.message.logref) { id in try session.send(.logRequest(id: id)) }
    }

    // MARK: - Configuration

    package func push(_ push: ConfigPush, to name: String) async throws -> ConfigPushResult {
        let peer = try directory.peer(named: name)
        guard peer.role == .member else {
            throw BackupFailure(.invalidInput, "'\(peer.instanceID)' is a hub; settings are sent to members")
        }
        guard let session = hub.session(of: peer.keyID) else {
            throw BackupFailure(.conflict, "'\(peer.instanceID)' is not connected")
        }
        guard session.hasConfig, let state = states.state(of: peer.keyID) else {
            throw BackupFailure(
                .conflict, "'\(peer.instanceID)' has just connected and not told its settings yet; try again")
        }
        try push.check(against: state)
        return try await hub.pushes.send(push, through: session)
    }

    package func pushes(to name: String) async throws -> [ConfigPushResult] {
        try await hub.pushes.results(of: directory.peer(named: name).keyID)
    }
}
