import BackupFormats
import BackupProtocol

/// Peers: hubs that this instance reports to, and members that report to it. (Spec: backrest-sync §9.)
///
/// A peer's name stands behind `/peers/peer`, so that an instance may have any name.
extension Endpoint {
    static let peers: [Endpoint] = peering + peerTokens + peerOperations

    private static let mayRead = AccessRule.privilege(anyOf: ["Sys.Audit"], on: "/system")
    private static let mayChange = AccessRule.privilege(anyOf: ["Sys.Modify"], on: "/system")

    private static let overview =
        "instance, key-id, role, state, message, last-heartbeat?, url?, fingerprint?, permissions, operations,"
        + " shares-logs, added"
    private static let outcome = "id, time, outcome, subjects, message"
    private static let operation =
        "id, flow, original-id, instance, key-id, kind, status, repo, repo-guid, plan, snapshot-id?,"
        + " forgotten?, starttime, endtime?, message, logref?"

    private static let peering: [Endpoint] = [
        Endpoint(
            .get, "/peers", "Lists the peers, and how it stands with each.", access: mayRead, result: "[{\(overview)}]"),
        Endpoint(
            .post, "/peers", "Joins a hub: this instance reports to it from now on.", access: mayChange,
            [
                .text("token", "The pairing token that the hub has made.", length: 1...1024),
                .text("url", "Where the hub is reached, as `https://host:port`.", length: 1...2048),
                .fingerprint, .permissions.optional(),
            ], result: "{\(overview), warnings}"),
        Endpoint(
            .get, "/peers/self", "Tells under which name and key this instance is known to its peers.", access: mayRead,
            result: "{instance, key-id, host, fingerprint}"),
        Endpoint(
            .get, "/peers/peer/{peer}", "Tells all of one peer; secrets of its settings are left out.", access: mayRead,
            [.peer], result: "{\(overview), repos: [{id, guid}], plans: [{id}], config?}"),
        Endpoint(
            .delete, "/peers/peer/{peer}", "Forgets a peer and what came from it; its session ends.", access: mayChange,
            [.peer]),
        Endpoint(
            .put, "/peers/peer/{peer}/permissions",
            "Sets what a peer may see and do here; an empty list takes all away.",
            access: mayChange, [.peer, .permissions], result: "{\(overview), warnings}"),
        Endpoint(
            .post, "/peers/peer/{peer}/config",
            "Sends repos and plans to a member that is connected and lets us write its settings.", access: mayChange,
            [
                .peer,
                EndpointParameter(
                    "repos", .array(of: .json), "Repos as in Backrest's configuration; each replaces that of its id."
                ).optional(),
                EndpointParameter(
                    "plans", .array(of: .json), "Plans as in Backrest's configuration; each replaces that of its id."
                ).optional(),
                EndpointParameter("delete-repos", .array(of: .text(1...Limits.name)), "Ids of repos to remove.")
                    .optional(),
                EndpointParameter("delete-plans", .array(of: .text(1...Limits.name)), "Ids of plans to remove.")
                    .optional(),
            ], result: "{\(outcome)}"),
        Endpoint(
            .get, "/peers/peer/{peer}/config", "Tells what became of settings that were sent, newest first.",
            access: mayRead, [.peer], result: "[{\(outcome)}]"),
    ]

    private static let token = "id, label, permissions, created, expires?, max-uses?, uses"

    private static let peerTokens: [Endpoint] = [
        Endpoint(
            .get, "/peers/tokens", "Lists pairing tokens that can still be used, without their secrets.",
            access: mayRead, result: "[{\(token)}]"),
        Endpoint(
            .post, "/peers/tokens", "Makes a pairing token; its text is shown this once.", access: mayChange,
            [
                EndpointParameter.text("label", "What it is for.", length: 0...EndpointParameter.Limits.comment)
                    .optional(""),
                .permissions.optional(),
                .integer("lifetime", 0...Int64(Int32.max), "Seconds that it is good for; 0 means for ever.")
                    .optional(900),
                .integer("max-uses", 0...Int64(Int32.max), "Instances that may use it; 0 means any number.").optional(
                    1),
            ], result: "{token, \(token), warnings}"),
        Endpoint(
            .delete, "/peers/tokens/{id}", "Removes a pairing token.", access: mayChange,
            [.text("id", "Its id.", length: 1...256)]),
    ]

    private static let peerOperations: [Endpoint] = [
        Endpoint(
            .get, "/peers/operations", "Lists operations of members, newest first.", access: mayRead,
            [
                EndpointParameter.peer.optional(),
                EndpointParameter.boolean("failed", "Only those that failed or were cut off.").optional(false),
                .integer("since", 0...Limits.time, "Started at this time or later, in Unix seconds.").optional(),
                .text("text", "Part of the plan, the repo, the instance or the message.", length: 0...256).optional(),
                .list("kind", of: PeerOperationKind.allCases.map(\.rawValue), "Only of these kinds.").optional(),
                .integer("limit", 1...10_000, "At most so many.").optional(100),
            ], result: "[{\(operation)}]"),
        Endpoint(
            .get, "/peers/operations/{id}", "Reads an operation of a member, with the whole message that it sent.",
            access: mayRead, [.operation], result: "{\(operation), operation}"),
        Endpoint(
            .get, "/peers/operations/{id}/log",
            "Reads the log of an operation of a member that is a Cairn: text, not wrapped in JSON.", access: mayRead,
            [
                .operation,
                EndpointParameter.boolean("follow", "Go on until the operation has ended.").optional(false),
            ], result: "text/plain"),
        Endpoint(
            .get, "/peers/results", "Tells the last backup of each plan of each member, and those that are missing.",
            access: mayRead,
            result:
                "[{instance, key-id, repo, plan, status?, starttime?, endtime?, message?, operation?, overdue-since?}]"),
    ]

    private enum Limits {
        static let name = 4096
        /// Beyond it milliseconds do not fit.
        static let time: Int64 = 253_402_300_799
    }
}

/// What an operation of a member is about.
package enum PeerOperationKind: String, CaseIterable, Sendable {
    case backup, forget, prune, restore, stats, check
    case indexSnapshot = "index-snapshot"
    case runHook = "run-hook"
    case runCommand = "run-command"
    /// Of a later version of the protocol, or nothing at all.
    case other

    /// The number of its part of the message. (Spec: backrest-sync §2.5.)
    package var field: Int64 {
        switch self {
        case .backup: 100
        case .indexSnapshot: 101
        case .forget: 102
        case .prune: 103
        case .restore: 104
        case .stats: 105
        case .runHook: 106
        case .check: 107
        case .runCommand: 108
        case .other: 0
        }
    }

    package init(field: Int64) { self = Self.allCases.first { $0.field == field } ?? .other }
}

extension EndpointParameter {
    fileprivate static let peer = text("peer", "Its instance id or key id.", length: 1...256)
    fileprivate static let operation = integer("id", 1...Int64.max, "Number of the operation here.")
    fileprivate static let permissions = EndpointParameter(
        "permissions", .array(of: .text(1...8192)), "What it may see and do here.",
        form: "`read-operations`, `read-config`, `read-write-config` or `receive-shared-repos`, alone for everything or"
            + " with `=` and scopes joined by commas: `plan:NAME`, `repo:NAME`, `!plan:NAME`, `!repo:NAME`, `*`")
    fileprivate static let fingerprint = EndpointParameter(
        "fingerprint",
        .pattern(64...95) { text in
            let digits = text.filter { $0 != ":" }
            return digits.count == 64 && digits.allSatisfy { $0.isHexDigit }
        }, "SHA-256 of the hub's certificate; without it an authority must vouch for it.",
        form: "32 bytes in hex joined by `:`"
    ).optional()
}
