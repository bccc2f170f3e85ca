import BackupFormats
import PeerSync
import PeerSyncProtocol
import StateDatabase
import Synchronization

/// Peers that are nowhere: what the API asks is remembered, what it shows is given by the test.
final class PretendPeers: PeerAdministration {
    struct State {
        var peers: [PeerOverview] = []
        var tokens: [PairingTokenDescription] = []
        var operations: [PeerOperation] = []
        var results: [PlanResult] = []
        var alerts: [PeerAlert] = []
        var pushes: [ConfigPushResult] = []
        var lastPush: ConfigPush?
        var lastFilter: PeerOperationFilter?
        var lastTokenRequest: PairingTokenRequest?
        var lastJoin: JoinRequest?
        var log: [[UInt8]] = []
        var logStaysOpen = false
        var failure: (any Error)?
    }
    let state = Mutex(State())

    var instanceID: String { "box" }
    var keyID: String { "ed25519.own" }

    private func with<Value: Sendable>(_ body: (inout State) throws -> sending Value) throws -> Value {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            return try body(&state)
        }
    }

    func createToken(
        _ request: PairingTokenRequest
    ) async throws -> (token: PairingToken, description: PairingTokenDescription) {
        try with { state in
            state.lastTokenRequest = request
            let description = PairingTokenDescription(
                id: "t1", label: request.label, grants: request.grants, created: 1000,
                expires: request.lifetime.map { 1000 + $0 }, maxUses: request.maxUses, uses: 0)
            state.tokens.append(description)
            return (PairingToken(keyID: keyID, secret: "topsecret", instanceID: instanceID), description)
        }
    }

    func tokens() async throws -> [PairingTokenDescription] { try with { $0.tokens } }

    func removeToken(_ id: String) async throws {
        try with { state in
            guard state.tokens.contains(where: { $0.id == id }) else {
                throw BackupFailure(.notFound, "no such pairing token '\(id)'")
            }
            state.tokens.removeAll { $0.id == id }
        }
    }

    func join(_ request: JoinRequest) async throws -> PeerOverview {
        try with { state in
            state.lastJoin = request
            let peer = Self.overview(
                request.token.instanceID, key: request.token.keyID, role: .hub, address: request.address,
                grants: request.grants)
            state.peers.append(peer)
            return peer
        }
    }

    func peers() async throws -> [PeerOverview] { try with { $0.peers } }

    func peer(_ name: String) async throws -> PeerOverview {
        try with { try Self.find(name, in: $0) }
    }

    func remove(_ name: String) async throws {
        try with { state in
            let peer = try Self.find(name, in: state).peer
            state.peers.removeAll { $0.peer == peer }
        }
    }

    func setGrants(_ name: String, _ grants: [PeerGrant]) async throws -> PeerOverview {
        try with { state in
            let old = try Self.find(name, in: state).peer
            let new = Self.overview(
                old.instanceID, key: old.keyID, role: old.role, address: old.address, grants: grants)
            state.peers = state.peers.map { $0.peer == old ? new : $0 }
            return new
        }
    }

    func states(follows: Bool) -> AsyncStream<WirePeerState> { AsyncStream { $0.finish() } }

    func operations(_ filter: PeerOperationFilter) async throws -> [PeerOperation] {
        try with { state in
            state.lastFilter = filter
            return state.operations
        }
    }

    func operation(_ id: Int64) async throws -> PeerOperation {
        try with { state in
            guard let found = state.operations.first(where: { $0.stored.id == id }) else {
                throw BackupFailure(.notFound, "no such operation \(id)")
            }
            return found
        }
    }

    func lastResults() async throws -> [PlanResult] { try with { $0.results } }

    func alerts() async throws -> [PeerAlert] { try with { $0.alerts } }

    func log(of operation: Int64) async throws -> AsyncThrowingStream<[UInt8], any Error> {
        let (pieces, staysOpen) = try with { ($0.log, $0.logStaysOpen) }
        return AsyncThrowingStream { continuation in
            for piece in pieces { continuation.yield(piece) }
            if !staysOpen { continuation.finish() }
        }
    }

    func push(_ push: ConfigPush, to name: String) async throws -> ConfigPushResult {
        try with { state in
            _ = try Self.find(name, in: state)
            state.lastPush = push
            let result = ConfigPushResult(
                id: 7, time: 1000, outcome: .sent, subjects: push.plans.map { "plan:\($0.id)" }, message: "")
            state.pushes = [result]
            return result
        }
    }

    func pushes(to name: String) async throws -> [ConfigPushResult] { try with { $0.pushes } }

    static func overview(
        _ name: String, key: String? = nil, role: PeerRole = .member, address: HubAddress? = nil,
        grants: [PeerGrant] = [], config: WireRemoteConfig? = nil
    ) -> PeerOverview {
        PeerOverview(
            peer: Peer(
                keyID: key ?? "ed25519.\(name)", instanceID: name, role: role, address: address, grants: grants,
                added: 900),
            state: .connected, message: "", lastHeartbeat: 1_700_000_000_999, repos: [], plans: [], config: config,
            sharesLogs: true, operations: 3)
    }

    private static func find(_ name: String, in state: State) throws -> PeerOverview {
        guard let peer = state.peers.first(where: { $0.peer.instanceID == name || $0.peer.keyID == name }) else {
            throw BackupFailure(.notFound, "no such peer '\(name)'")
        }
        return peer
    }
}
