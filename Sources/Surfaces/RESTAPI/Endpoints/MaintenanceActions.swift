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
            let explains = call.flag("explain")
            if call.flag("dry-run") {
                let plan = try await call.blocking {
                    try maintenance.prunePlan(of: group, in: place, options: options, by: grant)
                }
                return .data(json(plan, in: place, explains: explains))
            }
            if call.flag("use-task") {
                let task = try await maintenance.startPrune(of: group, in: place, options: options, by: grant)
                return .data(.string("\(task)"))
            }
            let decisions = try await maintenance.prune(group, in: place, options: options, by: grant)
            return .data(json(decisions, in: place, explains: explains))
        },
        "POST \(store)/prune-datastore": { call in
            let place = try call.place
            let request = PruneRequest(
                store: place.store, namespace: place.namespace, maxDepth: depth(call), options: keep(call),
                isDryRun: call.flag("dry-run"))
            return .data(.string("\(try await call.services.maintenance.startPrune(request, by: try call.identity))"))
        },
        "POST \(store)/verify": { call in
            let (place, grant) = try content(call)
            var request = VerifyRequest(store: place.store, namespace: place.namespace, maxDepth: depth(call))
            try chooseScope(of: &request, call)
            request.ignoresVerified = call.flag("ignore-verified")
            request.outdatedAfterDays = call.number("outdated-after")
            request.readThreads = call.number("read-threads").map { Int($0) }
            request.verifyThreads = call.number("verify-threads").map { Int($0) }
            request.rate = call.number("rate").map { Int($0) }
            return .data(.string("\(try await call.services.maintenance.startVerify(request, by: grant))"))
        },
    ]

    private static func chooseScope(of request: inout VerifyRequest, _ call: Call) throws {
        switch ["backup-type", "backup-id", "backup-time"].map({ call.values.contains($0) }) {
        case [true, true, true]: request.snapshot = try call.values.snapshot()
        case [true, true, false]: request.group = try call.values.group()
        case [false, false, false]: break
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

    private static func json(_ decisions: [PruneDecision], in place: ContentPlace, explains: Bool) -> JSONValue {
        .array(
            decisions.map { decision in
                var object = ContentJSON.name(decision.name)
                object["keep"] = .bool(decision.mark.isKept)
                object["protected"] = .bool(decision.isProtected)
                if !place.namespace.isRoot { object["ns"] = .string("\(place.namespace)") }
                // Only on request: the original has no such member.
                if explains { object["reason"] = .string("\(decision.reason)") }
                return .object(object)
            })
    }
}
