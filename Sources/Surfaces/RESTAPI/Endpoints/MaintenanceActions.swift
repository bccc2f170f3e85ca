import BackupFormats
import BackupProtocol
import BackupServer

extension Routes {
    static let maintenance: [String: EndpointAction] = [
        "POST \(store)/prune": { call in
            let (place, grant) = try content(call)
            let group = try call.values.group()
            let options = keep(call)
            let maintenance = call.services.maintenance
            if call.flag("dry-run") {
                let plan = try await call.blocking {
                    try maintenance.prunePlan(of: group, in: place, options: options, by: grant)
                }
                return .data(json(plan, in: place))
            }
            if call.flag("use-task") {
                let task = try await maintenance.startPrune(of: group, in: place, options: options, by: grant)
                return .data(.string("\(task)"))
            }
            return .data(json(try await maintenance.prune(group, in: place, options: options, by: grant), in: place))
        },
        "POST \(store)/prune-datastore": { call in
            let task = try await call.services.maintenance.startPrune(
                below: try call.place, maxDepth: depth(call), options: keep(call), isDryRun: call.flag("dry-run"),
                by: try call.identity)
            return .data(.string("\(task)"))
        },
        "POST \(store)/verify": { call in
            let (place, grant) = try content(call)
            let filter = VerifyFilter(
                skipsVerified: call.flag("ignore-verified"), outdatedAfter: call.number("outdated-after"))
            let task = try await call.services.maintenance.startVerify(
                try verifyScope(call), in: place, filter: filter, by: grant)
            return .data(.string("\(task)"))
        },
    ]

    private static func verifyScope(_ call: Call) throws -> VerifyScope {
        let given = ["backup-type", "backup-id", "backup-time"].map { call.values.contains($0) }
        switch given {
        case [true, true, true]: return .snapshot(try call.values.snapshot())
        case [true, true, false]: return .group(try call.values.group())
        case [false, false, false]: return .namespace(maxDepth: depth(call))
        default:
            throw BackupFailure(
                .invalidInput,
                "backup-type, backup-id and backup-time name a snapshot, the first two a group; give all or none")
        }
    }

    private static func depth(_ call: Call) -> Int { Int(call.number("max-depth") ?? Int64(Namespace.maxDepth)) }

    private static func keep(_ call: Call) -> PruneOptions {
        PruneOptions(
            last: call.number("keep-last"), hourly: call.number("keep-hourly"), daily: call.number("keep-daily"),
            weekly: call.number("keep-weekly"), monthly: call.number("keep-monthly"), yearly: call.number("keep-yearly")
        )
    }

    private static func json(_ decisions: [PruneDecision], in place: ContentPlace) -> JSONValue {
        .array(
            decisions.map { decision in
                var object = ContentJSON.name(decision.name)
                object["keep"] = .bool(decision.mark.isKept)
                object["protected"] = .bool(decision.isProtected)
                if !place.namespace.isRoot { object["ns"] = .string("\(place.namespace)") }
                return .object(object)
            })
    }
}
