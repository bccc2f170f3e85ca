import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import Platform
import StateDatabase

/// What is told about datastores as a whole. (Spec: rest E.4, E.7.)
extension Routes {
    static let stores: [String: EndpointAction] = [
        "GET /admin/datastore": { call in
            let caller = try call.identity.authID
            let visible = call.services.stores.records.filter { sees($0.name, caller, call) }
            return .data(
                .array(
                    visible.map { record in
                        let showsComment = !call.services.access.privileges(of: caller, on: .datastore(record.name))
                            .isEmpty
                        let comment = showsComment ? record.comment ?? "" : ""
                        var object: JSONObject = [
                            "store": .string(record.name), "comment": comment.isEmpty ? .null : .string(comment),
                            "mount-status": .string(mountStatus),
                        ]
                        object["maintenance"] = record.properties["maintenance-mode"]
                        return .object(object)
                    }))
        },
        "GET \(store)/status": { call in
            let name = try call.values.string("store")
            let caller = try call.identity.authID
            guard sees(name, caller, call) else { throw BackupFailure(.notAuthorized, "permission check failed") }
            guard seesFigures(name, caller, call) else {
                _ = try await call.blocking { try call.services.stores.datastore(name, for: .read) }
                return .data(["total": 0, "used": 0, "avail": 0])
            }
            let isVerbose = call.flag("verbose")
            return .data(
                .object(
                    try await call.blocking {
                        let store = try call.services.stores.datastore(name, for: .read)
                        var object = figures(try store.usage())
                        if isVerbose {
                            object["counts"] = counts(try store.counts())
                            object["gc-status"] = CollectionJSON.status(try store.lastCollection())
                        }
                        return object
                    }))
        },
        "GET \(store)/active-operations": { call in
            let name = try call.values.string("store")
            let stores = call.services.stores
            let count = try await call.blocking {
                _ = try stores.datastore(name, for: .read)
                return stores.activeOperations(of: name)
            }
            return .data(["read": .integer(count.reading), "write": .integer(count.writing)])
        },
        "GET /status/datastore-usage": { call in
            let caller = try call.identity.authID
            let visible = call.services.stores.records.filter { sees($0.name, caller, call) }
            let list = try await call.blocking {
                visible.map { usage($0, withFigures: seesFigures($0.name, caller, call), call) }
            }
            return .data(.array(list))
        },
    ]

    /// Every store is a folder that is always there.
    private static let mountStatus = "nonremovable"

    private static func usage(_ record: DatastoreRecord, withFigures: Bool, _ call: Call) -> JSONValue {
        var object: JSONObject = ["store": .string(record.name), "mount-status": .string(mountStatus)]
        guard withFigures else { return .object(object) }
        do {
            let store = try call.services.stores.datastore(record.name, for: .read)
            for member in figures(try store.usage()).members { object[member.name] = member.value }
            object["gc-status"] = CollectionJSON.status(try store.lastCollection())
            let history = try call.services.history.usage(of: record.name)
            object["history"] = .array(history.values.map { $0.map { .number("\($0)") } ?? .null })
            object["history-start"] = .integer(history.start)
            object["history-delta"] = .integer(history.step)
            object["estimated-full-date"] = history.fullDate.map { .integer($0) }
        } catch {
            object["error"] = .string("\(error)")
        }
        return .object(object)
    }

    private static func figures(_ space: FileSystemSpace) -> JSONObject {
        ["total": .integer(space.total), "used": .integer(space.used), "avail": .integer(space.available)]
    }

    private static func counts(_ counts: StoreCounts) -> JSONValue {
        var object: JSONObject = [:]
        for type in BackupType.allCases {
            let found = counts.types[type]
            object[type.rawValue] = [
                "groups": .integer(found?.groups ?? 0), "snapshots": .integer(found?.snapshots ?? 0),
            ]
        }
        object["other"] = .null
        return .object(object)
    }

    private static func sees(_ store: String, _ caller: AuthID, _ call: Call) -> Bool {
        call.services.access.hasAny(.namespaceVisibility, onOrBelow: .datastore(store), of: caller)
    }

    private static func seesFigures(_ store: String, _ caller: AuthID, _ call: Call) -> Bool {
        !call.services.access.privileges(of: caller, on: .datastore(store))
            .isDisjoint(with: [.datastoreAudit, .datastoreBackup])
    }
}
