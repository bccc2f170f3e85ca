import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import StateDatabase
import Tasks

/// Garbage collection. (Spec: rest E.4, E.5.)
extension Routes {
    static let collections: [String: EndpointAction] = [
        "POST \(store)/gc": { call in
            let task = try await call.services.maintenance.startCollection(
                of: try call.values.string("store"), by: try call.requiredGrant)
            return .data(.string("\(task)"))
        },
        "GET \(store)/gc": { call in
            let name = try call.values.string("store")
            return .data(try await report(name, call))
        },
        "GET /admin/gc": { call in
            let caller = try call.identity.authID
            var list: [JSONValue] = []
            for record in call.services.stores.records
            where call.services.access.privileges(of: caller, on: .datastore(record.name)).contains(.datastoreAudit) {
                // One that is offline has nothing to tell.
                guard let known = try? await report(record.name, call) else { continue }
                list.append(known)
            }
            return .data(.array(list))
        },
        "GET /admin/gc/{store}": { call in
            let name = try call.values.string("store")
            return .data([try await report(name, call)])
        },
    ]

    private static func report(_ name: String, _ call: Call) async throws -> JSONValue {
        try await call.blocking {
            let report = try call.services.maintenance.collectionReport(of: name)
            let nextRun = try call.services.jobs.status(of: .garbageCollection(name)).nextRun
            return CollectionJSON.report(report, nextRun: nextRun)
        }
    }
}

enum CollectionJSON {
    /// As `gc-status` of a datastore's status; of one where garbage was never collected too.
    static func status(_ status: CollectionStatus?) -> JSONValue { .object((status ?? CollectionStatus()).json) }

    /// The figures with what is known of the last run beside them.
    static func report(_ report: CollectionReport, nextRun: Int64?) -> JSONValue {
        var object = report.status.json
        object["store"] = .string(report.store)
        if let schedule = report.schedule { object["schedule"] = .string(schedule) }
        if let nextRun { object["next-run"] = .integer(nextRun) }
        if let run = report.lastRun, let end = run.endTime {
            object["last-run-endtime"] = .integer(end)
            object["last-run-state"] = .string(run.status ?? TaskStatus.unknown)
            object["duration"] = .integer(max(0, end - run.upid.startTime))
        }
        return .object(object.sorted())
    }
}
