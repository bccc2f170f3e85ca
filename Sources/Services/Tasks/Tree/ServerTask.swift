import BackupFormats

/// A task of the server that is no tree (a session, a garbage collection, a verification), shown as trees are.
enum ServerTask {
    /// Worker types of tasks that have a tree begin so; what is not in the tree is not shown a second time.
    static let treePrefix = "xo-"

    static func isShown(_ upid: UPID) -> Bool { !upid.workerType.hasPrefix(treePrefix) }

    static func json(_ task: TaskInfo) -> JSONObject {
        let upid = task.upid
        var properties: JSONObject = [
            "name": .string(upid.workerType), "type": "server", "upid": .string("\(upid)"),
            "owner": .string("\(upid.authID)"), "node": .string(upid.node),
        ]
        if let worker = upid.workerID { properties["workerId"] = .string(worker) }
        if let progress = task.progress { properties["progress"] = .integer(Int(progress * 100)) }
        var json: JSONObject = [
            "id": .string(TaskIDs.id(of: upid)), "name": .string(upid.workerType),
            "status": .string(status(task).rawValue), "start": .integer(upid.startTime * 1000),
        ]
        if let end = task.endTime { json["end"] = .integer(end * 1000) }
        json["properties"] = .object(properties)
        json["data"] = TaskEvent.data(upid.workerType, properties)
        json["upid"] = .string("\(upid)")
        if let text = task.status {
            switch TaskStatus.classify(text) {
            case .ok: break
            case .warning: json["warnings"] = [["message": .string(text)]]
            case .error, .unknown: json["result"] = ["name": "Error", "message": .string(text)]
            }
        }
        return json
    }

    static func status(_ task: TaskInfo) -> TaskTreeStatus {
        guard let text = task.status else { return task.isRunning ? .pending : .failure }
        if text == TaskStatus.aborted { return .canceled }
        if text == TaskStatus.interrupted { return .interrupted }
        switch TaskStatus.classify(text) {
        case .ok, .warning: return .success
        case .error, .unknown: return .failure
        }
    }
}
