package import PeerSyncProtocol
package import StateDatabase

/// What administrators do with peers: the calls behind the commands and the API. Peers are named by instance id or key id.
///
/// - Throws (all of them): ``BackupFailure``: `notFound` for an unknown peer, token or operation; `invalidInput` for
///   values that cannot be; `conflict` where it is taken or the peer is not connected.
package protocol PeerAdministration: Sendable {
    /// The name under which this instance is known to its peers, and its key.
    var instanceID: String { get }
    var keyID: String { get }

    // Pairing
    /// Makes a token; its secret is shown this once.
    func createToken(_ request: PairingTokenRequest) async throws -> (
        token: PairingToken, description: PairingTokenDescription
    )
    func tokens() async throws -> [PairingTokenDescription]
    func removeToken(_ id: String) async throws
    /// Reports to a hub from now on.
    func join(_ request: JoinRequest) async throws -> PeerOverview

    // Peers
    func peers() async throws -> [PeerOverview]
    func peer(_ name: String) async throws -> PeerOverview
    /// Forgets a peer, and everything that came from it; its session ends within a second.
    func remove(_ name: String) async throws
    func setGrants(_ name: String, _ grants: [PeerGrant]) async throws -> PeerOverview
    /// States as they are, then, where `follows`, as they change.
    func states(follows: Bool) -> AsyncStream<WirePeerState>

    // Operations of members
    func operations(_ filter: PeerOperationFilter) async throws -> [PeerOperation]
    func operation(_ id: Int64) async throws -> PeerOperation
    /// The last backup of each plan of each member, and those that are missing.
    func lastResults() async throws -> [PlanResult]
    /// What is wrong with the backups of members, now.
    func alerts() async throws -> [PeerAlert]
    /// The log of an operation of a member that is a Cairn, as it grows.
    func log(of operation: Int64) async throws -> AsyncThrowingStream<[UInt8], any Error>

    // Configuration of members
    /// Sends settings to a member that is connected.
    func push(_ push: ConfigPush, to name: String) async throws -> ConfigPushResult
    /// What became of the last pushes, newest first.
    func pushes(to name: String) async throws -> [ConfigPushResult]
}

package struct PairingTokenRequest: Sendable {
    package var label: String
    package var grants: [PeerGrant]
    /// Seconds; nil never ends.
    package var lifetime: Int64?
    /// Nil: any number of times.
    package var maxUses: Int?

    /// Good once, for 15 minutes.
    package init(label: String, grants: [PeerGrant], lifetime: Int64? = 900, maxUses: Int? = 1) {
        self.label = label
        self.grants = grants
        self.lifetime = lifetime
        self.maxUses = maxUses
    }
}

/// A token without its secret.
package struct PairingTokenDescription: Sendable, Hashable {
    package let id: String
    package let label: String
    package let grants: [PeerGrant]
    /// Unix seconds.
    package let created: Int64
    package let expires: Int64?
    package let maxUses: Int?
    package let uses: Int

    package init(
        id: String, label: String, grants: [PeerGrant], created: Int64, expires: Int64?, maxUses: Int?, uses: Int
    ) {
        self.id = id
        self.label = label
        self.grants = grants
        self.created = created
        self.expires = expires
        self.maxUses = maxUses
        self.uses = uses
    }
}

package struct JoinRequest: Sendable {
    package var token: PairingToken
    package var address: HubAddress
    /// What the hub may see of this instance; nothing where empty.
    package var grants: [PeerGrant]

    package init(token: PairingToken, address: HubAddress, grants: [PeerGrant]) {
        self.token = token
        self.address = address
        self.grants = grants
    }
}

/// A peer, and how it stands with it.
package struct PeerOverview: Sendable {
    package let peer: Peer
    package let state: WireConnectionState
    /// What is wrong, or when the next attempt is.
    package let message: String
    /// Unix milliseconds; 0: never.
    package let lastHeartbeat: Int64
    package let repos: [WireRepoMetadata]
    package let plans: [WirePlanMetadata]
    /// What it lets us see of its settings.
    package let config: WireRemoteConfig?
    /// Whether its logs can be read here.
    package let sharesLogs: Bool
    /// Members: operations that are kept here.
    package let operations: Int

    package init(
        peer: Peer, state: WireConnectionState, message: String, lastHeartbeat: Int64, repos: [WireRepoMetadata],
        plans: [WirePlanMetadata], config: WireRemoteConfig?, sharesLogs: Bool, operations: Int
    ) {
        self.peer = peer
        self.state = state
        self.message = message
        self.lastHeartbeat = lastHeartbeat
        self.repos = repos
        self.plans = plans
        self.config = config
        self.sharesLogs = sharesLogs
        self.operations = operations
    }
}

/// An operation of a member, whose `payload` is read.
package struct PeerOperation: Sendable {
    package let stored: StoredPeerOperation
    package let message: WireOperation
    /// The member's name here.
    package let instanceID: String

    package init(stored: StoredPeerOperation, message: WireOperation, instanceID: String) {
        self.stored = stored
        self.message = message
        self.instanceID = instanceID
    }
}

/// The last backup of a plan on a machine.
package struct PlanResult: Sendable {
    package let keyID: String
    package let instanceID: String
    package let repo: String
    package let plan: String
    /// Nil where the plan is known and no backup of it is.
    package let last: PeerOperation?
    /// When the next one was due, Unix seconds, where that is past.
    package let overdueSince: Int64?

    package init(
        keyID: String, instanceID: String, repo: String, plan: String, last: PeerOperation?, overdueSince: Int64?
    ) {
        self.keyID = keyID
        self.instanceID = instanceID
        self.repo = repo
        self.plan = plan
        self.last = last
        self.overdueSince = overdueSince
    }
}

/// Settings for a member. Repos and plans replace those of the same guid or id.
package struct ConfigPush: Sendable {
    package var repos: [WireRepo]
    package var plans: [WirePlan]
    package var reposToDelete: [String]
    package var plansToDelete: [String]

    package init(
        repos: [WireRepo] = [], plans: [WirePlan] = [], reposToDelete: [String] = [], plansToDelete: [String] = []
    ) {
        self.repos = repos
        self.plans = plans
        self.reposToDelete = reposToDelete
        self.plansToDelete = plansToDelete
    }
}

/// What became of a push: the protocol has no answer to it, so the member's next view of its settings tells.
package struct ConfigPushResult: Sendable, Hashable {
    package enum Outcome: String, Sendable {
        /// Sent; no sign yet.
        case sent
        /// The member's settings show it.
        case applied
        /// The member ended the session over it, or shows other settings.
        case refused
        /// The session ended, or nothing came for a minute.
        case unknown
    }

    package let id: Int64
    /// Unix seconds.
    package let time: Int64
    package let outcome: Outcome
    /// Names of what was sent: `repo:NAME`, `plan:NAME`, `!repo:NAME` for those that were to go.
    package let subjects: [String]
    package let message: String

    package init(id: Int64, time: Int64, outcome: Outcome, subjects: [String], message: String) {
        self.id = id
        self.time = time
        self.outcome = outcome
        self.subjects = subjects
        self.message = message
    }
}
