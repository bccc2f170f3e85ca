import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI
import PeerSync

/// Jobs. (Spec: rest E.5.)
extension Routes {
    static let jobs: [String: EndpointAction] = JobSection.allCases.reduce(into: alerts) { all, section in
        all.merge(jobs(section)) { first, _ in first }
    }

    private static let alerts: [String: EndpointAction] = [
        "GET /admin/alerts": { call in
            let caller = try call.identity.authID
            let store = call.text("store")
            let all = try await call.blocking { try call.services.alerts.current() }
            var found = all.filter { alert in
                (store == nil || alert.store == store) && alert.isVisible(to: caller, call.services.access)
            }.map { json($0) }
            if store == nil, call.services.access.privileges(of: caller, on: .system).contains(.sysAudit) {
                found += try await call.services.peers?.alerts().map(PeerJSON.alert) ?? []
            }
            return .data(.array(found))
        }
    ]

    private static func jobs(_ section: JobSection) -> [String: EndpointAction] {
        let (config, admin) = ("/config/\(section.rawValue)", "/admin/\(section.rawValue)")
        return [
            "GET \(config)": { call in
                let list = try await listing(section, call)
                return .data(
                    .array(list.jobs.map { .object(json($0.name, $0.job)) }), beside: ["digest": .string(list.digest)])
            },
            "GET \(config)/{id}": { call in
                let (name, caller) = (try call.values.string("id"), try call.identity)
                let list = try await call.blocking {
                    try call.services.jobs.listing(of: section, name, for: caller, call.services.access)
                }
                return .data(
                    .object(list.jobs.first.map { json($0.name, $0.job) } ?? [:]),
                    beside: ["digest": .string(list.digest)])
            },
            "POST \(config)": { call in
                let (name, caller) = (try call.values.string("id"), try call.identity)
                let properties = properties(call)
                try await call.blocking {
                    try call.services.jobs.add(name, to: section, properties, by: caller, call.services.access)
                }
                return .none
            },
            "PUT \(config)/{id}": { call in
                let (name, caller) = (try call.values.string("id"), try call.identity)
                let (new, removed, digest) = (properties(call), call.values.strings("delete"), call.text("digest"))
                try await call.blocking {
                    try call.services.jobs.update(
                        name, in: section, settings: new, removed: removed, digest: digest, by: caller,
                        call.services.access)
                }
                return .none
            },
            "DELETE \(config)/{id}": { call in
                let (name, caller) = (try call.values.string("id"), try call.identity)
                let digest = call.text("digest")
                try await call.blocking {
                    try call.services.jobs.remove(
                        name, from: section, digest: digest, by: caller, call.services.access)
                }
                return .none
            },
            "GET \(admin)": { call in
                let (store, direction) = (call.text("store"), call.text("sync-direction") ?? "all")
                let list = try await listing(section, call)
                let chosen = list.jobs.filter { _, job in
                    (store == nil || job.store == store)
                        && (direction == "all"
                            || (job.properties["sync-direction"]?.stringValue ?? "pull") == direction)
                }
                let states = try await call.blocking {
                    try chosen.map { name, job in
                        var object = json(name, job)
                        for member in try call.services.jobs.status(of: job).members.members {
                            object[member.name] = member.value
                        }
                        return JSONValue.object(object)
                    }
                }
                return .data(.array(states), beside: ["digest": .string(list.digest)])
            },
            "POST \(admin)/{id}/run": { call in
                let (name, caller) = (try call.values.string("id"), try call.identity)
                let task = try await call.blocking {
                    try call.services.jobs.start(section, name, by: caller, call.services.access)
                }
                return .data(.string("\(task)"))
            },
        ]
    }

    private static func listing(_ section: JobSection, _ call: Call) async throws -> JobService.Listing {
        let caller = try call.identity
        return try await call.blocking {
            try call.services.jobs.listing(of: section, for: caller, call.services.access)
        }
    }

    private static func json(_ name: String, _ job: Job) -> JSONObject {
        var object: JSONObject = ["id": .string(name)]
        for member in job.properties.members { object[member.name] = member.value }
        return object
    }

    /// What the caller has given, in the order of the endpoint's description.
    private static func properties(_ call: Call) -> JSONObject {
        var object: JSONObject = [:]
        for parameter in call.endpoint.parameters where !["id", "delete", "digest"].contains(parameter.name) {
            object[parameter.name] = call.values[parameter.name].map { ParameterValues.json($0) }
        }
        return object
    }

    private static func json(_ alert: OverdueAlert) -> JSONValue {
        var object: JSONObject = ["store": .string(alert.store)]
        if !alert.namespace.isRoot { object["ns"] = .string("\(alert.namespace)") }
        switch alert.subject {
        case .job(let id):
            object["type"] = "job"
            switch id {
            case .garbageCollection: object["job-type"] = "garbage-collection"
            case .storePrune: object["job-type"] = "prune"
            case .configured(let section, let name):
                object["job-type"] = .string(section.rawValue)
                object["id"] = .string(name)
            }
        case .group(let group):
            object["type"] = "group"
            object["backup-type"] = .string(group.type.rawValue)
            object["backup-id"] = .string(group.id)
        }
        object["since"] = .integer(alert.since)
        object["text"] = .string(alert.text)
        return .object(object)
    }
}
