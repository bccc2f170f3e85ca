import BackupFormats
package import PeerSyncProtocol

/// Another instance that this one knows: a hub that it reports to, or a member that reports to it.
package struct Peer: Sendable, Equatable {
    /// Of its key: by it a peer is known.
    package let keyID: String
    /// The name that it gives itself.
    package let instanceID: String
    /// What the other side is.
    package let role: PeerRole
    /// Hubs only: where it is dialled.
    package var address: HubAddress?
    /// What this side grants it.
    package var grants: [PeerGrant]
    /// Hubs only, until it has accepted us.
    package var pairingSecret: String?
    /// When it was added, Unix seconds.
    package let added: Int64

    package init(
        keyID: String, instanceID: String, role: PeerRole, address: HubAddress? = nil, grants: [PeerGrant],
        pairingSecret: String? = nil, added: Int64
    ) {
        self.keyID = keyID
        self.instanceID = instanceID
        self.role = role
        self.address = address
        self.grants = grants
        self.pairingSecret = pairingSecret
        self.added = added
    }

    package var permissions: PeerPermissions {
        get throws(PeerSyncFailure) { try PeerPermissions(grants.map(\.message)) }
    }
}

/// One thing that a peer may do, and where. (Spec: backrest-sync §5.4.)
package struct PeerGrant: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case readOperations = "read-operations"
        case readConfig = "read-config"
        case readWriteConfig = "read-write-config"
        case receiveSharedRepos = "receive-shared-repos"
    }

    package let kind: Kind
    /// `*`, or names as `repo:NAME`, `plan:NAME`, `!repo:NAME`, `!plan:NAME`; never empty, since that would mean everything.
    package let scopes: [String]

    /// - Throws: ``PeerSyncFailure`` (`invalidArgument`) for no scope at all, and for one that cannot be read.
    package init(_ kind: Kind, scopes: [String]) throws(PeerSyncFailure) {
        guard !scopes.isEmpty else {
            throw PeerSyncFailure(
                .invalidArgument,
                "the permission \(kind.rawValue) has no scope; say '*' if it is meant to be everything")
        }
        self.kind = kind
        self.scopes = scopes
        _ = try PeerPermissions([message])
    }

    /// Reads what a peer sent, where no scope at all stands for everything; unknown kinds are nil.
    package init?(_ message: WireMultihost.Permission) throws(PeerSyncFailure) {
        guard let kind = Kind.allCases.first(where: { $0.wire == message.type }) else { return nil }
        try self.init(kind, scopes: message.scopes.isEmpty ? ["*"] : message.scopes)
    }

    package var message: WireMultihost.Permission {
        var message = WireMultihost.Permission()
        message.type = kind.wire
        message.scopes = scopes
        return message
    }
}

extension PeerGrant.Kind {
    fileprivate var wire: WireMultihost.Permission.TypeEnum {
        switch self {
        case .readOperations: .permissionReadOperations
        case .readConfig: .permissionReadConfig
        case .readWriteConfig: .permissionReadWriteConfig
        case .receiveSharedRepos: .permissionReceiveSharedRepos
        }
    }
}

extension [PeerGrant] {
    /// As they are kept.
    var json: JSONValue {
        .array(map { ["type": .string($0.kind.rawValue), "scopes": .array($0.scopes.map(JSONValue.string))] })
    }

    /// Nil where the value is no list of grants.
    init?(json: JSONValue?) {
        guard let items = json?.arrayValue else { return nil }
        var grants: [PeerGrant] = []
        for item in items {
            guard let kind = item["type"]?.stringValue.flatMap(PeerGrant.Kind.init(rawValue:)),
                let scopes = item["scopes"]?.arrayValue,
                let grant = try? PeerGrant(kind, scopes: scopes.compactMap(\.stringValue))
            else { return nil }
            grants.append(grant)
        }
        self = grants
    }
}
