import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI
import Tasks

/// Lists, states and logs of tasks. (Spec: rest E.8.)
extension Routes {
    static let tasks: [String: EndpointAction] = [
        "GET /nodes/{node}/tasks": { call in
            let caller = try call.identity.authID
            let seesAll = holds(.sysAudit, caller, call)
            let statuses = call.values.strings("statusfilter").compactMap { TaskStatusClass(rawValue: $0) }
            let filter = TaskFilter(
                start: Int(call.number("start") ?? 0), limit: Int(call.number("limit") ?? 50),
                store: call.text("store"),
                isRunningOnly: call.flag("running"), isErrorsOnly: call.flag("errors"),
                userPart: call.text("userfilter"),
                typePart: call.text("typefilter"), since: call.number("since"), until: call.number("until"),
                statuses: statuses.isEmpty ? nil : Set(statuses))
            let page = try await call.blocking {
                let configurable = seesAll ? [] : try configurableWorkers(of: caller, call)
                return try call.services.tasks.list(filter) {
                    seesAll || isOwn($0.upid, caller) || configurable.contains(Worker($0.upid))
                }
            }
            return .data(.array(page.tasks.map { listed($0) }), beside: ["total": .integer(page.total)])
        },
        "GET /nodes/{node}/tasks/{upid}/status": { call in
            let upid = try await visibleTask(call)
            let info = try await call.blocking { try call.services.tasks.info(upid) }
            return .data(status(of: upid, info))
        },
        "GET /nodes/{node}/tasks/{upid}/log": { call in
            let upid = try await visibleTask(call)
            guard !call.flag("download") else { return .whole(try await wholeLog(of: upid, call)) }
            let (start, limit) = (Int(call.number("start") ?? 0), Int(call.number("limit") ?? 50))
            guard let page = try await call.blocking({ try call.services.tasks.log(upid, start: start, limit: limit) })
            else {
                throw unknown(upid)
            }
            var object: JSONObject = [
                "data": .array(page.lines.map { ["n": .integer($0.number), "t": .string($0.text)] }),
                "total": .integer(page.total), "success": 1,
            ]
            if call.flag("test-status") { object["active"] = .bool(page.isActive) }
            return .whole(
                RESTResponse(
                    status: 200, headers: [("content-type", "application/json")],
                    body: .bytes(Array(JSONValue.object(object).compactText.utf8))))
        },
        "DELETE /nodes/{node}/tasks/{upid}": { call in
            let upid = try task(call)
            let caller = try call.identity.authID
            guard upid.authID == caller || holds(.sysModify, caller, call) else {
                throw BackupFailure(.invalidInput, "missing permissions 'Sys.Modify' on '\(AccessPath.systemTasks)'")
            }
            _ = call.services.tasks.abort(upid)
            return .none
        },
    ]

    private static func task(_ call: Call) throws -> UPID {
        do {
            return try UPID(parsing: try call.values.string("upid"))
        } catch let error as FormatError {
            throw ParameterFailure(name: "upid", reason: "\(error)")
        }
    }

    private static func visibleTask(_ call: Call) async throws -> UPID {
        let upid = try task(call)
        let caller = try call.identity.authID
        if isOwn(upid, caller) || holds(.sysAudit, caller, call) { return upid }
        let configurable = try await call.blocking { try configurableWorkers(of: caller, call) }
        guard configurable.contains(Worker(upid)) else {
            throw BackupFailure(.invalidInput, "task access not allowed")
        }
        return upid
    }

    /// What tells the tasks of one job from others.
    private struct Worker: Hashable {
        let type: String
        let id: String?

        init(_ upid: UPID) { (type, id) = (upid.workerType, upid.workerID) }
        init(_ job: Job) { (type, id) = (job.worker.type, job.worker.id) }
    }

    /// Of the jobs that the caller may configure.
    private static func configurableWorkers(of caller: AuthID, _ call: Call) throws -> Set<Worker> {
        Set(
            try call.services.jobs.jobs().filter { JobRights.mayChange($0, caller, call.services.access) }
                .map { Worker($0) })
    }

    /// Whether it is a task of the caller or of one of its tokens.
    private static func isOwn(_ upid: UPID, _ caller: AuthID) -> Bool {
        upid.authID == caller || !caller.isToken && upid.authID.user == caller
    }

    private static func holds(_ privilege: Privileges, _ caller: AuthID, _ call: Call) -> Bool {
        call.services.access.privileges(of: caller, on: .systemTasks).contains(privilege)
    }

    private static func unknown(_ upid: UPID) -> BackupFailure {
        BackupFailure(.noSuchObject, "there is no log of task \(upid)")
    }

    private static func wholeLog(of upid: UPID, _ call: Call) async throws -> RESTResponse {
        guard ["start", "limit", "test-status"].allSatisfy({ !call.values.contains($0) }) else {
            throw BackupFailure(.invalidInput, "'download' gives the whole log; it goes with no other parameter")
        }
        guard let log = try await call.blocking({ try call.services.tasks.wholeLog(upid) }) else { throw unknown(upid) }
        return RESTResponse(
            status: 200,
            headers: [
                ("content-type", "text/plain;charset=UTF-8"),
                (
                    "content-disposition",
                    "attachment; filename=task-\(upid.node)-\(upid.workerType)-\(upid.startTime).log"
                ),
            ], body: .bytes(log))
    }

    private static func common(_ upid: UPID) -> JSONObject {
        [
            "upid": .string("\(upid)"), "node": .string(upid.node), "pid": .integer(upid.pid),
            "pstart": .integer(upid.processStart), "starttime": .integer(upid.startTime),
        ]
    }

    private static func listed(_ task: TaskInfo) -> JSONValue {
        var object = common(task.upid)
        // As recorded: lists name the node as it is asked for, not as the task does.
        object["node"] = "localhost"
        object["worker_type"] = .string(task.upid.workerType)
        object["worker_id"] = task.upid.workerID.map { .string($0) } ?? .null
        object["user"] = .string("\(task.owner)")
        object["endtime"] = task.endTime.map { .integer($0) }
        object["status"] = task.status.map { .string($0) }
        return .object(object)
    }

    private static func status(of upid: UPID, _ info: TaskInfo?) -> JSONValue {
        var object = common(upid)
        object["type"] = .string(upid.workerType)
        object["id"] = upid.workerID.map { .string($0) } ?? .null
        object["user"] = .string("\(upid.authID.user)")
        object["tokenid"] = upid.authID.token.map { .string($0) }
        if let info, info.isRunning {
            object["status"] = "running"
            object["progress"] = info.progress.map { .number("\($0)") }
        } else {
            object["status"] = "stopped"
            object["exitstatus"] = .string(info?.status ?? TaskStatus.unknown)
        }
        return .object(object)
    }
}
