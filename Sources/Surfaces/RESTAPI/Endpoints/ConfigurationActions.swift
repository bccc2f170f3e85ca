import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import StateDatabase

/// The configuration of datastores. (Spec: rest E.6.)
extension Routes {
    static let configuration: [String: EndpointAction] = [
        "GET /config/datastore": { call in
            let caller = try call.identity.authID
            let access = call.services.access
            let visible = call.services.stores.records.filter {
                access.privileges(of: caller, on: .datastore($0.name)).contains(.datastoreAudit)
            }
            let digest = try await call.blocking { try call.services.stores.digest() }
            return .data(.array(visible.map { json($0) }), beside: ["digest": .string(digest)])
        },
        "GET /config/datastore/{name}": { call in
            let record = try call.services.stores.record(try call.values.string("name"))
            let digest = try await call.blocking { try call.services.stores.digest() }
            return .data(json(record), beside: ["digest": .string(digest)])
        },
        "POST /config/datastore": { call in
            let record = DatastoreRecord(
                name: try call.values.string("name"), path: try call.values.string("path"), properties: settings(call))
            let task = try await call.services.maintenance.startCreation(
                record, reusing: call.flag("reuse-datastore"), by: try call.requiredGrant)
            return .data(.string("\(task)"))
        },
        "PUT /config/datastore/{name}": { call in
            let name = try call.values.string("name")
            let (new, removed, digest) = (settings(call), call.values.strings("delete"), call.text("digest"))
            let grant = try call.requiredGrant
            try await call.blocking {
                try call.services.stores.update(name, settings: new, removed: removed, digest: digest, by: grant)
                // A new schedule counts from now on.
                try call.services.jobs.runDue(isStarting: false)
            }
            return .none
        },
        "DELETE /config/datastore/{name}": { call in
            let name = try call.values.string("name")
            guard call.services.stores.records.contains(where: { $0.name == name }) else {
                // Unlike elsewhere, the original answers 404 here.
                throw BackupFailure(.notFound, "datastore '\(name)' does not exist.")
            }
            let task = try await call.services.maintenance.startRemoval(
                name, destroyingData: call.flag("destroy-data"), keepingJobs: call.flag("keep-job-configs"),
                digest: call.text("digest"), by: try call.requiredGrant)
            return .data(.string("\(task)"))
        },
    ]

    /// Parameters that are no settings.
    private static let others: Set<String> = [
        "name", "path", "reuse-datastore", "overwrite-in-use", "delete", "digest", "keep-job-configs", "destroy-data",
    ]

    private static func settings(_ call: Call) -> JSONObject {
        var object: JSONObject = [:]
        for name in call.values.names where !others.contains(name) {
            switch call.values[name] {
            case .string(let text): object[name] = .string(text)
            case .integer(let number): object[name] = .integer(number)
            case .boolean(let value): object[name] = .bool(value)
            default: break
            }
        }
        return object
    }

    private static func json(_ record: DatastoreRecord) -> JSONValue {
        var object: JSONObject = ["name": .string(record.name), "path": .string(record.path)]
        for member in record.properties.members { object[member.name] = member.value }
        return .object(object)
    }
}
