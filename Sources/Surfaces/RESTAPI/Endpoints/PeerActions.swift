import BackupFormats
import BackupProtocol
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import StateDatabase

/// Peers: hubs that this instance reports to, and members that report to it. (Spec: backrest-sync §9.)
extension Routes {
    static let peers: [String: EndpointAction] = peering.merging(peerTokens) { first, _ in first }.merging(
        peerOperations
    ) { first, _ in first }

    private static let peering: [String: EndpointAction] = [
        "GET /peers": { call in
            try await asked(call) { peers in
                .data(.array(try await peers.peers().map { .object(PeerJSON.overview($0)) }))
            }
        },
        "POST /peers": { call in
            try await asked(call) { peers in
                let request = JoinRequest(
                    token: try token(try call.values.string("token")),
                    address: try HubAddress(
                        parsing: try call.values.string("url"), fingerprint: call.text("fingerprint")),
                    grants: try grants(call))
                return granted(try await peers.join(request))
            }
        },
        "GET /peers/self": { call in
            try await asked(call) { peers in
                .data([
                    "instance": .string(peers.instanceID), "key-id": .string(peers.keyID),
                    "host": .string(call.services.node.name), "fingerprint": .string(call.services.node.fingerprint()),
                ])
            }
        },
        "GET /peers/peer/{peer}": { call in
            try await asked(call) { peers in
                .data(.object(try PeerJSON.whole(try await peers.peer(try call.values.string("peer")))))
            }
        },
        "DELETE /peers/peer/{peer}": { call in
            try await asked(call) { peers in
                try await peers.remove(try call.values.string("peer"))
                return .none
            }
        },
        "PUT /peers/peer/{peer}/permissions": { call in
            try await asked(call) { peers in
                granted(try await peers.setGrants(try call.values.string("peer"), try grants(call)))
            }
        },
        "POST /peers/peer/{peer}/config": { call in
            try await asked(call) { peers in
                let push = ConfigPush(
                    repos: try PeerJSON.messages(call.values, "repos"),
                    plans: try PeerJSON.messages(call.values, "plans"),
                    reposToDelete: call.values.strings("delete-repos"),
                    plansToDelete: call.values.strings("delete-plans"))
                let isEmpty =
                    push.repos.isEmpty && push.plans.isEmpty && push.reposToDelete.isEmpty
                    && push.plansToDelete.isEmpty
                guard !isEmpty else { throw BackupFailure(.invalidInput, "there is nothing to send: no repo, no plan") }
                return .data(PeerJSON.push(try await peers.push(push, to: try call.values.string("peer"))))
            }
        },
        "GET /peers/peer/{peer}/config": { call in
            try await asked(call) { peers in
                .data(.array(try await peers.pushes(to: try call.values.string("peer")).map(PeerJSON.push)))
            }
        },
    ]

    private static let peerTokens: [String: EndpointAction] = [
        "GET /peers/tokens": { call in
            try await asked(call) { peers in
                .data(.array(try await peers.tokens().map { .object(PeerJSON.token($0)) }))
            }
        },
        "POST /peers/tokens": { call in
            try await asked(call) { peers in
                let grants = try grants(call)
                let lifetime = call.number("lifetime").flatMap { $0 > 0 ? $0 : nil }
                let uses = call.number("max-uses").flatMap { $0 > 0 ? Int($0) : nil }
                let made = try await peers.createToken(
                    PairingTokenRequest(
                        label: call.text("label") ?? "", grants: grants, lifetime: lifetime, maxUses: uses))
                var object: JSONObject = ["token": .string("\(made.token)")]
                for member in PeerJSON.token(made.description).members { object[member.name] = member.value }
                object["warnings"] = PeerJSON.warnings(grants)
                return .data(.object(object))
            }
        },
        "DELETE /peers/tokens/{id}": { call in
            try await asked(call) { peers in
                try await peers.removeToken(try call.values.string("id"))
                return .none
            }
        },
    ]

    private static let peerOperations: [String: EndpointAction] = [
        "GET /peers/operations": { call in
            try await asked(call) { peers in
                var filter = PeerOperationFilter(limit: Int(call.number("limit") ?? 100))
                if let name = call.text("peer") { filter.keyID = try await peers.peer(name).peer.keyID }
                if call.flag("failed") { filter.statuses = PeerJSON.failed }
                filter.since = call.number("since").map { $0 * 1000 }
                filter.text = call.text("text").flatMap { $0.isEmpty ? nil : $0 }
                let kinds = call.values.strings("kind").compactMap(PeerOperationKind.init(rawValue:))
                filter.kinds = kinds.isEmpty ? nil : kinds.map(\.field)
                return .data(.array(try await peers.operations(filter).map { .object(PeerJSON.operation($0)) }))
            }
        },
        "GET /peers/operations/{id}": { call in
            try await asked(call) { peers in
                let operation = try await peers.operation(try call.values.integer("id"))
                var object = PeerJSON.operation(operation)
                object["operation"] = try PeerJSON.json(operation.message)
                return .data(.object(object))
            }
        },
        "GET /peers/operations/{id}/log": { call in
            try await asked(call) { peers in
                let log = PeerLogSource(
                    try await peers.log(of: try call.values.integer("id")), follows: call.flag("follow"))
                try await log.prime()
                var response = RESTResponse(
                    status: 200, headers: [("content-type", "text/plain;charset=UTF-8")],
                    body: .stream(log, length: nil))
                response.isFeed = true
                return .whole(response)
            }
        },
        "GET /peers/results": { call in
            try await asked(call) { peers in .data(.array(try await peers.lastResults().map(PeerJSON.result))) }
        },
    ]

    /// What became of a call that has granted something.
    private static func granted(_ overview: PeerOverview) -> EndpointResult {
        var object = PeerJSON.overview(overview)
        object["warnings"] = PeerJSON.warnings(overview.peer.grants)
        return .data(.object(object))
    }

    private static func grants(_ call: Call) throws -> [PeerGrant] {
        try PeerGrant.grants(parsing: call.values.strings("permissions"))
    }

    private static func token(_ text: String) throws -> PairingToken {
        do { return try PairingToken(parsing: text) } catch {
            throw ParameterFailure(name: "token", reason: error.reason)
        }
    }

    /// Asks the peers. What another instance refuses is 400 here: another status would speak of this server, and a 401
    /// take the caller's own cookie away.
    private static func asked(
        _ call: Call, _ question: (any PeerAdministration) async throws -> EndpointResult
    ) async throws -> EndpointResult {
        guard let peers = call.services.peers else { throw BackupFailure(.unsupported, "This server has no peers") }
        do {
            return try await question(peers)
        } catch let failure as BackupFailure {
            guard [.unavailable, .notAuthenticated, .notAuthorized].contains(failure.kind) else { throw failure }
            throw BackupFailure(.conflict, failure.summary, hints: failure.hints, cause: failure.cause)
        } catch let failure as PeerSyncFailure {
            throw BackupFailure(.invalidInput, failure.reason)
        }
    }
}
