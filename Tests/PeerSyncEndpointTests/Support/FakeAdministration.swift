import BackupFormats
import PeerSync
import PeerSyncProtocol
import StateDatabase
import Synchronization

/// Knows a hub and a member, and writes down what it is asked.
final class FakeAdministration: PeerAdministration {
    static let memberKey = "ed25519.member"

    let instanceID = "cairn-one"
    let keyID = "ed25519.own"
    let tokenRequests = Mutex<[PairingTokenRequest]>([])
    let pushed = Mutex<[(push: ConfigPush, name: String)]>([])
    let stored = Mutex<[PeerOperation]>([])
    /// What followers of states are told; ended by tests.
    let changes = Mutex<[AsyncStream<WirePeerState>.Continuation]>([])

    func createToken(
        _ request: PairingTokenRequest
    ) async throws -> (token: PairingToken, description: PairingTokenDescription) {
        tokenRequests.withLock { $0.append(request) }
        let description = PairingTokenDescription(
            id: "t1", label: request.label, grants: request.grants, created: 1, expires: nil, maxUses: nil, uses: 0)
        return (PairingToken(keyID: keyID, secret: "s3cret", instanceID: instanceID), description)
    }

    func tokens() async throws -> [PairingTokenDescription] {
        [
            PairingTokenDescription(
                id: "t1", label: "office", grants: [], created: 5, expires: 905, maxUses: 1, uses: 0)
        ]
    }

    func removeToken(_ id: String) async throws { throw Self.unused }
    func join(_ request: JoinRequest) async throws -> PeerOverview { throw Self.unused }

    func peers() async throws -> [PeerOverview] {
        let grant = try PeerGrant(.readOperations, scopes: ["*"])
        return [
            PeerOverview(
                peer: Peer(
                    keyID: "ed25519.hub", instanceID: "the-hub", role: .hub,
                    address: try HubAddress(parsing: "https://hub.example.org:8007"), grants: [grant],
                    pairingSecret: "never-shown", added: 1),
                state: .connected, message: "", lastHeartbeat: 0, repos: [], plans: [], config: nil,
                sharesLogs: false, operations: 0),
            PeerOverview(
                peer: Peer(keyID: Self.memberKey, instanceID: "member", role: .member, grants: [], added: 2),
                state: .disconnected, message: "", lastHeartbeat: 0, repos: [], plans: [], config: nil,
                sharesLogs: true, operations: 3),
        ]
    }

    func peer(_ name: String) async throws -> PeerOverview { throw Self.unused }
    func remove(_ name: String) async throws { throw Self.unused }
    func setGrants(_ name: String, _ grants: [PeerGrant]) async throws -> PeerOverview { throw Self.unused }

    func states(follows: Bool) -> AsyncStream<WirePeerState> {
        let (stream, continuation) = AsyncStream.makeStream(of: WirePeerState.self)
        for name in ["the-hub", "member"] { continuation.yield(Self.state(name)) }
        guard follows else {
            continuation.finish()
            return stream
        }
        changes.withLock { $0.append(continuation) }
        return stream
    }

    static func state(_ name: String) -> WirePeerState {
        var state = WirePeerState()
        state.peerInstanceID = name
        state.state = .connected
        return state
    }

    func operations(_ filter: PeerOperationFilter) async throws -> [PeerOperation] {
        stored.withLock { stored in
            Array(
                stored.filter { filter.keyID == nil || filter.keyID == $0.stored.record.keyID }.prefix(filter.limit))
        }
    }

    func operation(_ id: Int64) async throws -> PeerOperation {
        guard let found = stored.withLock({ $0.first { $0.stored.id == id } }) else {
            throw BackupFailure(.notFound, "no such operation")
        }
        return found
    }

    func lastResults() async throws -> [PlanResult] { throw Self.unused }
    func alerts() async throws -> [PeerAlert] { throw Self.unused }

    func log(of operation: Int64) async throws -> AsyncThrowingStream<[UInt8], any Error> {
        guard operation == 3 else { throw BackupFailure(.notFound, "no such log") }
        return AsyncThrowingStream { continuation in
            continuation.yield(Array("first\n".utf8))
            continuation.yield(Array("second\n".utf8))
            continuation.finish(throwing: BackupFailure(.unavailable, "the member is gone"))
        }
    }

    func push(_ push: ConfigPush, to name: String) async throws -> ConfigPushResult {
        switch name {
        case Self.memberKey: break
        case "ed25519.asleep": throw BackupFailure(.conflict, "the peer is not connected")
        default: throw BackupFailure(.notFound, "no such peer")
        }
        pushed.withLock { $0.append((push, name)) }
        return ConfigPushResult(
            id: 1, time: 1, outcome: .sent, subjects: push.plans.map { "plan:\($0.id)" }, message: "")
    }

    func pushes(to name: String) async throws -> [ConfigPushResult] { throw Self.unused }

    private static let unused = BackupFailure(.unsupported, "not by this double")
}
