package import BackupFormats
import Platform
import Synchronization

extension TaskTrees {
    /// The task of that id, also one inside a tree, or one of the server's others.
    ///
    /// - Throws: ``TaskQueryFailure/unknown(_:)``.
    package func task(_ id: String) async throws -> JSONObject {
        if let tree = growing(with: id) { return tree.json(of: id) }
        return try await workers.run {
            if let found = try self.endedTask(id) { return found }
            guard let info = try self.serverTask(id) else { throw TaskQueryFailure.unknown(id) }
            return ServerTask.json(info)
        }
    }

    private func growing(with id: String) -> TaskTree? {
        let trees = state.withLock { $0.growing }
        return trees[id] ?? trees.values.first { $0.contains(id) }
    }

    /// A task in an ended tree: a root, or a part of the trees that were there when it began, the newest first. Blocks.
    private func endedTask(_ id: String) throws -> JSONObject? {
        if let root = try endedJSON(id)?.objectValue { return root }
        guard let time = TaskIDs.time(of: id) else { return nil }
        let candidates = state.withLock { $0.ended }.filter { $0 < id }.sorted(by: >)
        for root in candidates {
            guard let json = try endedJSON(root)?.objectValue, let end = json["end"]?.intValue, end >= time else {
                continue
            }
            if let found = Self.find(id, in: json) { return found }
        }
        return nil
    }

    private static func find(_ id: String, in task: JSONObject) -> JSONObject? {
        if task["id"]?.stringValue == id { return task }
        for child in task["tasks"]?.arrayValue ?? [] {
            if let child = child.objectValue, let found = find(id, in: child) { return found }
        }
        return nil
    }

    /// A task of the server by the id that it has here. Blocks.
    private func serverTask(_ id: String) throws -> TaskInfo? {
        guard let time = TaskIDs.time(of: id) else { return nil }
        let filter = TaskFilter(limit: 0, since: time / 1000, until: time / 1000)
        return try registry.list(filter) { ServerTask.isShown($0.upid) && TaskIDs.id(of: $0.upid) == id }.tasks.first
    }

    // MARK: All

    /// A root task in the list of all.
    package struct Entry: Sendable {
        package let id: String
        let source: TaskChanges.Source
        /// As it was when the list was made, where that is cheap to say.
        let task: JSONObject?
    }

    /// All root tasks, newest first.
    package func all() async throws -> [Entry] {
        let growing = state.withLock { $0.growing }
        return try await workers.run {
            let ended = self.state.withLock { $0.ended }
            let server = try self.registry.list(TaskFilter(limit: 0)) { ServerTask.isShown($0.upid) }.tasks
            var entries = Set(growing.keys).union(ended).map { Entry(id: $0, source: .tree, task: nil) }
            entries += server.map { info in
                Entry(id: TaskIDs.id(of: info.upid), source: .server(info.upid), task: ServerTask.json(info))
            }
            return entries.sorted { $0.id > $1.id }
        }
    }

    /// The root task that an entry stands for; nil where it is gone.
    package func task(_ entry: Entry) async throws -> JSONObject? {
        if let task = entry.task { return task }
        return try await root(entry.id, entry.source)
    }

    private func root(_ id: String, _ source: TaskChanges.Source) async throws -> JSONObject? {
        switch source {
        case .tree:
            if let tree = state.withLock({ $0.growing[id] }) { return tree.json(of: id) }
            return try await workers.run { try self.endedJSON(id)?.objectValue }
        case .server(let upid):
            return try await workers.run { try self.registry.info(upid).map { ServerTask.json($0) } }
        }
    }

    // MARK: Ending and removing

    /// Asks a pending task to end, and all below it; does not wait for it.
    package func cancel(_ id: String) async throws {
        if let tree = growing(with: id) {
            if let status = tree.cancel(id, reason: "task.cancel was called") {
                throw TaskQueryFailure.notPending(id, status)
            }
            return
        }
        let found = try await task(id)
        let status = found["status"]?.stringValue.flatMap { TaskTreeStatus(rawValue: $0) } ?? .failure
        guard status == .pending, let upid = found["upid"]?.stringValue.flatMap({ try? UPID(parsing: $0) }),
            registry.abort(upid)
        else { throw TaskQueryFailure.notPending(id, status) }
    }

    /// Removes an ended root task with its tree.
    package func destroy(_ id: String) async throws {
        if let tree = growing(with: id) {
            guard tree.rootID == id else { throw TaskQueryFailure.notRoot(id) }
            guard tree.status(of: id) != .pending else { throw TaskQueryFailure.pending(id) }
            await write(tree)
        }
        try await workers.run {
            if self.state.withLock({ $0.ended.contains(id) }) { return try self.remove(id) }
            if try self.endedTask(id) != nil { throw TaskQueryFailure.notRoot(id) }
            guard let info = try self.serverTask(id) else { throw TaskQueryFailure.unknown(id) }
            throw info.isRunning ? TaskQueryFailure.pending(id) : TaskQueryFailure.foreign(id)
        }
    }

    // MARK: Events

    /// What has changed since `token`, each root task once; waits for a change at most so long. An empty token gives
    /// all that there is. (Spec: xo-proxy §3.4.)
    ///
    /// - Throws: ``TaskQueryFailure/malformedToken`` and ``TaskQueryFailure/eventsLost``.
    package func events(since token: String, atMost limit: Duration) async throws -> JSONObject {
        if token.isEmpty { return try await allAsEvents() }
        let start = try sequence(of: token)
        guard var news = changes.since(start) else { throw TaskQueryFailure.eventsLost }
        if news.changes.isEmpty, limit > .zero {
            try await changes.wait(after: start, atMost: limit)
            try Task.checkCancellation()
            if changes.sequence != start { try await Task.sleep(for: Self.batchTime) }
            guard let later = changes.since(start) else { throw TaskQueryFailure.eventsLost }
            news = later
        }
        var events: [JSONValue] = []
        for change in news.changes {
            let isNew = change.created > start
            if let last = change.removed {
                if !isNew { events.append(Self.event("del", last)) }
            } else if let task = try await root(change.id, change.source) {
                events.append(Self.event(isNew ? "add" : "mod", .object(task)))
            }
        }
        return ["events": .array(events), "token": self.token(news.last)]
    }

    /// Time in which further changes are gathered after the first.
    private static let batchTime = Duration.milliseconds(200)

    private func allAsEvents() async throws -> JSONObject {
        let token = token(changes.sequence)
        var events: [JSONValue] = []
        for entry in try await all().reversed() {
            if let task = try await task(entry) { events.append(Self.event("add", .object(task))) }
        }
        return ["events": .array(events), "token": token]
    }

    private static func event(_ operation: String, _ task: JSONValue) -> JSONValue {
        ["class": "Task", "operation": .string(operation), "snapshot": task]
    }

    private func token(_ sequence: Int64) -> JSONValue { .string("\(boot):\(sequence)") }

    private func sequence(of token: String) throws -> Int64 {
        let parts = token.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == boot.utf8.count, let sequence = Int64(parts[1]),
            parts[1] == "\(sequence)", sequence >= 0
        else { throw TaskQueryFailure.malformedToken }
        guard parts[0] == boot else { throw TaskQueryFailure.eventsLost }
        return sequence
    }

    /// Callers that wait for events now.
    package var waiterCount: Int { changes.waiterCount }
}
