import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI
import StateDatabase
import Tasks

/// Remotes, and copies from and to them by hand. (Spec: rest E.5.)
extension Routes {
    static let remotes: [String: EndpointAction] = [
        "GET /config/remote": { call in
            let caller = try call.identity.authID
            let access = call.services.access
            let listing = try await call.blocking { try call.services.sync.remotes.list() }
            let visible = listing.entries.filter {
                access.privileges(of: caller, on: .remote($0.id)).contains(.remoteAudit)
            }
            return .data(.array(visible.map { json($0) }), beside: ["digest": .string(listing.digest)])
        },
        "GET /config/remote/{name}": { call in
            let name = try call.values.string("name")
            let (entry, digest) = try await call.blocking {
                let remotes = call.services.sync.remotes
                return (try remotes.entry(name), try remotes.list().digest)
            }
            return .data(json(entry), beside: ["digest": .string(digest)])
        },
        "POST /config/remote": { call in
            let (name, password) = (try call.values.string("name"), try call.values.string("password"))
            try await call.blocking {
                try call.services.sync.remotes.add(name, settings(call), password: password)
            }
            return .none
        },
        "PUT /config/remote/{name}": { call in
            let name = try call.values.string("name")
            try await call.blocking {
                try call.services.sync.remotes.update(
                    name, settings(call), removed: call.values.strings("delete"), password: call.text("password"),
                    digest: call.text("digest"))
            }
            return .none
        },
        "DELETE /config/remote/{name}": { call in
            let name = try call.values.string("name")
            try await call.blocking { try call.services.sync.remotes.remove(name, digest: call.text("digest")) }
            return .none
        },
        "GET /config/remote/{name}/scan": { call in
            .data(try await abroad { try await call.services.sync.datastores(of: try call.values.string("name")) })
        },
        "GET /config/remote/{name}/scan/{store}/namespaces": { call in
            .data(
                try await abroad {
                    try await call.services.sync.namespaces(
                        of: try call.values.string("name"), store: try call.values.string("store"))
                })
        },
        "GET /config/remote/{name}/scan/{store}/groups": { call in
            .data(
                try await abroad {
                    try await call.services.sync.groups(
                        of: try call.values.string("name"), store: try call.values.string("store"),
                        namespace: try call.values.namespace("namespace"))
                })
        },
    ]

    /// Runs a question to a remote. What it refuses is 400 here: another status would speak of this server, and a 401
    /// take the caller's own cookie away.
    private static func abroad<Value>(_ question: () async throws -> Value) async throws -> Value {
        do {
            return try await question()
        } catch let failure as BackupFailure
            where [.unavailable, .notAuthenticated, .notAuthorized].contains(failure.kind)
        {
            throw BackupFailure(.conflict, failure.summary, hints: failure.hints, cause: failure.cause)
        }
    }

    static let synchronisation: [String: EndpointAction] = [
        "POST /pull": { call in try await start(.pull, call) },
        "POST /push": { call in try await start(.push, call) },
    ]

    private static func start(_ direction: SyncRequest.Direction, _ call: Call) async throws -> EndpointResult {
        let caller = try call.identity
        var properties = JSONObject(call.values.members)
        properties["sync-direction"] = .string(direction.rawValue)
        properties["owner"] = .string("\(caller.authID)")
        let request = try SyncRequest(properties: properties)
        try SyncRights.require(for: request, caller, call.services.access)
        let sync = call.services.sync
        if let remote = request.remote { _ = try await call.blocking { try sync.remotes.entry(remote) } }
        let task = call.services.tasks.run("sync", id: request.workerID, owner: caller.authID) { task in
            try await sync.run(request, in: task)
        }
        return .data(.string("\(task)"))
    }

    private static func settings(_ call: Call) -> JSONObject {
        var object = JSONObject(call.values.members)
        for name in ["name", "password", "delete", "digest"] { object[name] = nil }
        return object
    }

    private static func json(_ entry: ConfigEntry) -> JSONValue {
        var object: JSONObject = ["name": .string(entry.id)]
        for member in entry.properties.members { object[member.name] = member.value }
        return .object(object)
    }
}
