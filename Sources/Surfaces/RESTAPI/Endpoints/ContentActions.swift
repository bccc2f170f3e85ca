import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI

extension Routes {
    static let groups: [String: EndpointAction] = [
        "GET \(store)/groups": { call in
            let (place, grant) = try content(call)
            let entries = try await call.blocking { try call.services.content.groups(in: place, by: grant) }
            return .data(.array(entries.map { ContentJSON.group($0) }))
        },
        "DELETE \(store)/groups": { call in
            let (place, grant) = try content(call)
            let group = try call.values.group()
            let failsOnProtected = call.flag("error-on-protected")
            let counts = try await call.blocking {
                try call.services.content.removeGroup(
                    group, in: place, failsOnProtected: failsOnProtected, by: grant)
            }
            return .data(ContentJSON.removal(counts))
        },
        "GET \(store)/group-notes": { call in
            let (place, grant) = try content(call)
            let group = try call.values.group()
            let notes = try await call.blocking { try call.services.content.groupNotes(group, in: place, by: grant) }
            return .data(.string(notes))
        },
        "PUT \(store)/group-notes": { call in
            let (place, grant) = try content(call)
            let group = try call.values.group()
            let notes = try call.values.string("notes")
            try await call.blocking {
                try call.services.content.setGroupNotes(notes, of: group, in: place, by: grant)
            }
            return .none
        },
        "POST \(store)/change-owner": { call in
            let place = try call.place
            let group = try call.values.group()
            let caller = try call.identity
            guard let owner = AuthID(parsing: try call.values.string("new-owner")) else {
                throw ParameterFailure(name: "new-owner", reason: "value does not match the regex pattern")
            }
            try await call.blocking {
                try call.services.content.changeOwner(of: group, in: place, to: owner, by: caller)
            }
            return .none
        },
    ]

    static let snapshots: [String: EndpointAction] = [
        "GET \(store)/snapshots": { call in
            let (place, grant) = try content(call)
            let type = call.text("backup-type").flatMap { BackupType(rawValue: $0) }
            let id = call.text("backup-id")
            let list = try await call.blocking {
                try call.services.content.snapshots(in: place, type: type, id: id, by: grant)
            }
            return .data(.array(list.map { ContentJSON.snapshot($0) }))
        },
        "DELETE \(store)/snapshots": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            try await call.blocking { try call.services.content.removeSnapshot(name, in: place, by: grant) }
            return .none
        },
        "GET \(store)/files": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            let found = try await call.blocking { try call.services.content.snapshot(name, in: place, by: grant) }
            return .data(ContentJSON.files(found))
        },
        "GET \(store)/notes": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            let notes = try await call.blocking { try call.services.content.notes(of: name, in: place, by: grant) }
            return .data(.string(notes))
        },
        "PUT \(store)/notes": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            let notes = try call.values.string("notes")
            try await call.blocking { try call.services.content.setNotes(notes, of: name, in: place, by: grant) }
            return .none
        },
        "GET \(store)/protected": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            let isProtected = try await call.blocking {
                try call.services.content.isProtected(name, in: place, by: grant)
            }
            return .data(.bool(isProtected))
        },
        "PUT \(store)/protected": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            let isProtected = try call.values.boolean("protected")
            try await call.blocking {
                try call.services.content.setProtected(isProtected, name, in: place, by: grant)
            }
            return .none
        },
        "POST \(store)/upload-backup-log": { call in
            let (place, grant) = try content(call)
            let name = try call.values.snapshot()
            try await call.blocking {
                try call.services.content.storeClientLog(call.request.body, for: name, in: place, by: grant)
            }
            return .none
        },
    ]

    static let namespaces: [String: EndpointAction] = [
        "GET \(store)/namespace": { call in
            let start = try parent(call)
            let depth = Int(call.number("max-depth") ?? Int64(Namespace.maxDepth))
            let caller = try call.identity
            let list = try await call.blocking {
                try call.services.content.namespaces(from: start, maxDepth: depth, by: caller)
            }
            return .data(.array(list.map { ["ns": .string("\($0)")] }))
        },
        "POST \(store)/namespace": { call in
            let parent = try parent(call)
            let name = try call.values.string("name")
            let caller = try call.identity
            let made = try await call.blocking {
                try call.services.content.createNamespace(name, in: parent, by: caller)
            }
            return .data(.string("\(made)"))
        },
        "DELETE \(store)/namespace": { call in
            let place = try call.place
            let caller = try call.identity
            let (includingGroups, failsOnProtected) = (call.flag("delete-groups"), call.flag("error-on-protected"))
            let counts = try await call.blocking {
                try call.services.content.removeNamespace(
                    place, includingGroups: includingGroups, failsOnProtected: failsOnProtected, by: caller)
            }
            return .data(ContentJSON.removal(counts))
        },
    ]

    static let store = "/admin/datastore/{store}"

    /// Where, and the grant that the endpoint's rule has given for it.
    static func content(_ call: Call) throws -> (place: ContentPlace, grant: ContentGrant) {
        (try call.place, try call.contentGrant)
    }

    private static func parent(_ call: Call) throws -> ContentPlace {
        ContentPlace(store: try call.values.string("store"), namespace: try call.values.namespace("parent"))
    }
}
