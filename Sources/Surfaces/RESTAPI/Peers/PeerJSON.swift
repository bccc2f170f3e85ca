import BackupFormats
import BackupProtocol
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf

/// Peers, tokens and operations as the API shows them.
enum PeerJSON {
    private static let millisecondsPerSecond: Int64 = 1000

    // MARK: - Peers

    static func overview(_ overview: PeerOverview) -> JSONObject {
        let peer = overview.peer
        var object: JSONObject = [
            "instance": .string(peer.instanceID), "key-id": .string(peer.keyID),
            "role": .string(word(peer.role)), "state": .string(word(overview.state)),
            "message": .string(overview.message),
        ]
        object["last-heartbeat"] =
            overview.lastHeartbeat > 0 ? .integer(overview.lastHeartbeat / millisecondsPerSecond) : nil
        object["url"] = peer.address.map { .string("\($0)") }
        object["fingerprint"] = peer.address?.fingerprint.map { .string($0) }
        object["permissions"] = texts(peer.grants)
        object["operations"] = .integer(overview.operations)
        object["shares-logs"] = .bool(overview.sharesLogs)
        object["added"] = .integer(peer.added)
        return object
    }

    /// The overview with what the peer tells of itself.
    static func whole(_ peer: PeerOverview) throws -> JSONObject {
        var object = overview(peer)
        object["repos"] = .array(peer.repos.map { ["id": .string($0.id), "guid": .string($0.guid)] })
        object["plans"] = .array(peer.plans.map { ["id": .string($0.id)] })
        object["config"] = try peer.config.map { try json(withoutSecrets($0)) }
        return object
    }

    static func texts(_ grants: [PeerGrant]) -> JSONValue { .array(grants.map { .string($0.text) }) }

    static func warnings(_ grants: [PeerGrant]) -> JSONValue {
        .array(grants.compactMap(\.warning).map(JSONValue.string))
    }

    static func word(_ role: PeerRole) -> String { role == .hub ? "hub" : "member" }

    static func word(_ state: WireConnectionState) -> String {
        switch state {
        case .pending: "pending"
        case .connected: "connected"
        case .disconnected: "disconnected"
        case .retryWait: "retry-wait"
        case .errorAuth: "auth-error"
        case .errorProtocol: "protocol-error"
        case .errorInternal: "internal-error"
        case .unknown, .UNRECOGNIZED: "unknown"
        }
    }

    // MARK: - Tokens and pushes

    static func token(_ token: PairingTokenDescription) -> JSONObject {
        var object: JSONObject = [
            "id": .string(token.id), "label": .string(token.label), "permissions": texts(token.grants),
            "created": .integer(token.created),
        ]
        object["expires"] = token.expires.map { .integer($0) }
        object["max-uses"] = token.maxUses.map { .integer($0) }
        object["uses"] = .integer(token.uses)
        return object
    }

    static func push(_ push: ConfigPushResult) -> JSONValue {
        [
            "id": .integer(push.id), "time": .integer(push.time), "outcome": .string(push.outcome.rawValue),
            "subjects": .array(push.subjects.map(JSONValue.string)), "message": .string(push.message),
        ]
    }

    // MARK: - Operations

    static func operation(_ operation: PeerOperation) -> JSONObject {
        let (stored, message) = (operation.stored, operation.message)
        let record = stored.record
        var object: JSONObject = [
            "id": .integer(stored.id), "flow": .integer(stored.flow), "original-id": .integer(record.originalID),
            "instance": .string(operation.instanceID), "key-id": .string(record.keyID),
            "kind": .string(PeerOperationKind(field: record.kind).rawValue),
            "status": .string(word(operation: record.status)), "repo": .string(record.repo),
            "repo-guid": .string(record.repoGUID), "plan": .string(record.plan),
        ]
        object["snapshot-id"] = message.snapshotID.isEmpty ? nil : .string(message.snapshotID)
        if case .operationIndexSnapshot(let snapshot) = message.op { object["forgotten"] = .bool(snapshot.forgot) }
        object["starttime"] = .integer(record.start / millisecondsPerSecond)
        object["endtime"] = record.end > 0 ? .integer(record.end / millisecondsPerSecond) : nil
        object["message"] = .string(record.message)
        object["logref"] = message.logref.isEmpty ? nil : .string(message.logref)
        return object
    }

    static func result(_ result: PlanResult) -> JSONValue {
        var object: JSONObject = [
            "instance": .string(result.instanceID), "key-id": .string(result.keyID), "repo": .string(result.repo),
            "plan": .string(result.plan),
        ]
        if let last = result.last {
            let record = last.stored.record
            object["status"] = .string(word(operation: record.status))
            object["starttime"] = .integer(record.start / millisecondsPerSecond)
            object["endtime"] = record.end > 0 ? .integer(record.end / millisecondsPerSecond) : nil
            object["message"] = .string(record.message)
            object["operation"] = .integer(last.stored.id)
        }
        object["overdue-since"] = result.overdueSince.map { .integer($0) }
        return .object(object)
    }

    /// Statuses that `failed` asks for: ended with an error, or cut off.
    static let failed = [WireOperationStatus.statusError, .statusSystemCancelled].map { Int64($0.rawValue) }

    private static func word(operation status: Int64) -> String {
        switch Int(exactly: status).flatMap(WireOperationStatus.init(rawValue:)) {
        case .statusPending: "pending"
        case .statusInprogress: "running"
        case .statusSuccess: "success"
        case .statusWarning: "warning"
        case .statusError: "error"
        case .statusSystemCancelled: "system-cancelled"
        case .statusUserCancelled: "user-cancelled"
        case .statusUnknown, .UNRECOGNIZED, nil: "unknown"
        }
    }

    static func alert(_ alert: PeerAlert) -> JSONValue {
        [
            "type": "peer", "peer": .string(alert.instanceID), "plan": .string(alert.plan), "repo": .string(alert.repo),
            "since": .integer(alert.since), "text": .string(alert.text),
        ]
    }

    // MARK: - Messages

    /// As protobuf maps messages to JSON.
    static func json(_ message: some Message) throws -> JSONValue {
        try JSONValue(parsing: message.jsonUTF8Bytes() as [UInt8])
    }

    /// Reads items of a parameter. A member that the schema does not know is refused: it would be lost on the way.
    static func messages<Wire: Message>(_ values: ParameterValues, _ parameter: String) throws -> [Wire] {
        try (values.arrayIfPresent(parameter) ?? []).enumerated().map { index, item in
            do {
                return try Wire(jsonUTF8Bytes: Array(ParameterValues.json(item).compactText.utf8))
            } catch {
                throw ParameterFailure(name: "\(parameter)/[\(index)]", reason: "cannot be read: \(error)")
            }
        }
    }

    private static func withoutSecrets(_ config: WireRemoteConfig) -> WireRemoteConfig {
        var config = config.withoutSecrets
        for index in config.repos.indices { config.repos[index].uri = withoutLogin(config.repos[index].uri) }
        return config
    }

    /// The address of a repo without `user:password@`.
    private static func withoutLogin(_ uri: String) -> String {
        guard let mark = uri.firstRange(of: "://") else { return uri }
        let rest = uri[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" }
        guard let at = authority.lastIndex(of: "@") else { return uri }
        return String(uri[..<mark.upperBound] + rest[rest.index(after: at)...])
    }
}
