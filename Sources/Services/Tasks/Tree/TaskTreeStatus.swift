import BackupFormats

/// How a task of a tree stands, with what happened below it. (Spec: xo-proxy §3.2.)
package enum TaskTreeStatus: String, Sendable {
    case pending, success, failure, skipped, canceled, interrupted

    /// Messages that callers show as "skipped", although the task failed with them. (Spec: xo-proxy §5.9.)
    static let skippingMessages: Set<String> = ["unhealthy VDI chain", "no disks found", "no VMs match this pattern"]
}

/// One task of a tree, as its events have told it so far.
struct TaskPart: Sendable {
    /// Messages of each kind that are kept of one task.
    static let maxMessages = 1000

    let name: String
    let parent: String?
    let start: Int64
    var properties: JSONObject
    var children: [String] = []
    var infos: [JSONValue] = []
    var warnings: [JSONValue] = []
    var abortionRequestedAt: Int64?
    var end: Int64?
    var isSuccess = false
    var result: JSONValue?
    /// Whether it ended because the server stopped.
    var isInterrupted = false
}

/// A tree of tasks, folded from its events.
struct TaskFold: Sendable {
    private(set) var root = ""
    private(set) var records: [String: TaskPart] = [:]

    /// - Returns: False where the event tells nothing that is kept: of a task that is unknown or has ended, or one
    ///   message too many.
    mutating func apply(_ event: TaskEvent) -> Bool {
        let id = event.taskID
        if case .start(let parent, let name, let properties) = event.kind {
            guard records[id] == nil, parent.map({ records[$0] != nil && records[$0]?.end == nil }) ?? records.isEmpty
            else { return false }
            records[id] = TaskPart(
                name: name, parent: parent, start: event.time, properties: TaskEvent.properties(name, properties))
            if let parent { records[parent]?.children.append(id) } else { root = id }
            return true
        }
        guard records[id] != nil, records[id]?.end == nil else { return false }
        switch event.kind {
        case .start: return false
        case .property(let name, let value): records[id]?.properties[name] = value
        case .info(let message, let data): return records[id]?.infos.keep(message, data) ?? false
        case .warning(let message, let data): return records[id]?.warnings.keep(message, data) ?? false
        case .abortionRequested:
            if records[id]?.abortionRequestedAt == nil { records[id]?.abortionRequestedAt = event.time }
        case .end(let isSuccess, let result):
            records[id]?.end = event.time
            records[id]?.isSuccess = isSuccess
            records[id]?.result = result
        }
        return true
    }

    mutating func markInterrupted(_ id: String) { records[id]?.isInterrupted = true }

    /// Those tasks below `id` that have not ended, the deepest first.
    func pending(below id: String) -> [String] {
        (records[id]?.children ?? []).flatMap { child in
            pending(below: child) + (records[child]?.end == nil ? [child] : [])
        }
    }

    // MARK: Status

    func status(of id: String) -> TaskTreeStatus {
        guard let record = records[id], record.end != nil else { return .pending }
        return status(record, children: record.children.map { ($0, status(of: $0)) })
    }

    private func status(_ record: TaskPart, children: [(id: String, status: TaskTreeStatus)]) -> TaskTreeStatus {
        if record.isInterrupted { return .interrupted }
        let wasCancelled = record.result?["name"]?.stringValue == TaskFailure.cancelledName
        guard record.isSuccess else {
            if wasCancelled { return .canceled }
            let message = record.result?["message"]?.stringValue
            return message.map { TaskTreeStatus.skippingMessages.contains($0) } ?? false ? .skipped : .failure
        }
        let statuses = Set(children.filter { !isForgiven($0, in: record, among: children) }.map(\.status))
        if record.abortionRequestedAt != nil, statuses.contains(.canceled) { return .canceled }
        if !statuses.isDisjoint(with: [.failure, .interrupted, .canceled]) { return .failure }
        return statuses.contains(.skipped) ? .skipped : .success
    }

    /// A failure does not count where the task was tried again and the same part then succeeded.
    private func isForgiven(
        _ child: (id: String, status: TaskTreeStatus), in parent: TaskPart,
        among children: [(id: String, status: TaskTreeStatus)]
    ) -> Bool {
        guard child.status == .failure, parent.warnings.contains(where: { $0["data"]?["isRetry"] == .bool(true) }),
            let failed = records[child.id]
        else { return false }
        return children.contains { other in
            guard other.status == .success, let record = records[other.id] else { return false }
            return record.name == failed.name && record.properties["id"] == failed.properties["id"]
        }
    }

    // MARK: As JSON

    /// The task with everything below it. (Spec: xo-proxy §3.1.)
    func json(of id: String) -> JSONObject { describe(id).task }

    private func describe(_ id: String) -> (task: JSONObject, status: TaskTreeStatus) {
        guard let record = records[id] else { return ([:], .pending) }
        let children = record.children.map { (id: $0, seen: describe($0)) }
        let status =
            record.end == nil
            ? .pending : self.status(record, children: children.map { ($0.id, $0.seen.status) })
        var task: JSONObject = [
            "id": .string(id), "name": .string(record.name), "status": .string(status.rawValue),
            "start": .integer(record.start),
        ]
        if let end = record.end { task["end"] = .integer(end) }
        if let time = record.abortionRequestedAt { task["abortionRequestedAt"] = .integer(time) }
        task["properties"] = .object(record.properties)
        task["data"] = TaskEvent.data(record.name, record.properties)
        if !record.infos.isEmpty { task["infos"] = .array(record.infos) }
        if !record.warnings.isEmpty { task["warnings"] = .array(record.warnings) }
        if let result = record.result { task["result"] = result }
        if !children.isEmpty { task["tasks"] = .array(children.map { .object($0.seen.task) }) }
        return (task, status)
    }
}

extension [JSONValue] {
    /// - Returns: False where there are too many already.
    fileprivate mutating func keep(_ message: String, _ data: JSONValue?) -> Bool {
        guard count < TaskPart.maxMessages else { return false }
        var entry: JSONObject = ["message": .string(message)]
        entry["data"] = data
        append(.object(entry))
        return true
    }
}
