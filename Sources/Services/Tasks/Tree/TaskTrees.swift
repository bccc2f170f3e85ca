package import BackupFormats
package import Logging
import Platform
import Synchronization

/// All trees of tasks: those that grow, in memory; those that ended, on the disk; and beside them the server's other
/// tasks, so that one list shows everything. (Spec: xo-proxy §3.)
///
/// Each tree is a task of ``TaskRegistry`` too, with its events as lines in the log: aborting the one ends the other.
package final class TaskTrees: Sendable {
    /// Trees younger than this stay, and the newest ``minTrees`` however old they are.
    static let maxAge: Int64 = 31 * 86400 * 1000
    static let minTrees = 1000
    /// While a tree grows its file is written at most so often.
    static let writeInterval = Duration.seconds(2)
    /// Trees that end between two removals of old ones.
    private static let removalInterval = 64

    let registry: TaskRegistry
    let changes = TaskChanges()
    /// Tells the tokens of this run from those of earlier ones.
    let boot = TaskIDs.random(8)
    let folder: TaskTreeFolder
    let workers = WorkerPool(name: "task trees", width: 1)
    private let owner: AuthID
    private let time: TimeSource
    private let log: Logger
    private let ids = TaskIDs()

    struct State {
        var growing: [String: TaskTree] = [:]
        var ended: Set<String> = []
        /// Growing trees whose file will be written soon.
        var scheduled: Set<String> = []
        /// Ended trees of this run whose file could not be written.
        var unwritten: [String: JSONValue] = [:]
        var endedCount = 0
        var isStopping = false
    }
    let state = Mutex(State())

    /// Closes the trees of a server that died as interrupted, and removes the oldest ones. Blocks.
    ///
    /// - Parameters:
    ///   - folder: Where the trees' files are; made where it is missing.
    ///   - owner: Whose tasks they are in the list of all tasks.
    package init(folder: String, registry: TaskRegistry, owner: AuthID, time: TimeSource, log: Logger) throws {
        self.folder = TaskTreeFolder(path: folder)
        self.registry = registry
        self.owner = owner
        self.time = time
        self.log = log
        let ended: [String]
        do {
            ended = try self.folder.open(now: time.nanoseconds() / 1_000_000) { log.warning("\($0)") }
        } catch {
            throw BackupFailure(.unavailable, "The logs of tasks in \(folder) cannot be opened", cause: error)
        }
        state.withLock { $0.ended = Set(ended) }
        removeOld()
        registry.observe { [changes] task, change in
            guard ServerTask.isShown(task.upid) else { return }
            let id = TaskIDs.id(of: task.upid)
            switch change {
            case .started: changes.created(id, .server(task.upid))
            case .ended: changes.changed(id, .server(task.upid))
            case .removed: changes.removed(id, .server(task.upid), last: .object(ServerTask.json(task)))
            }
        }
    }

    deinit { workers.close() }

    // MARK: Starting

    /// Starts a tree. Its work runs in ``TaskRoot/run(result:_:)``.
    ///
    /// - Parameters:
    ///   - type: The worker type in the list of all tasks: a word that begins with `xo-`.
    ///   - id: What it works on, there.
    ///   - isFollowed: Whether the events are wanted as a stream.
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the server stops.
    package func start(
        _ type: String, id: String?, name: String, properties: JSONObject = [:], isFollowed: Bool = false
    ) throws -> TaskRoot {
        precondition(type.hasPrefix(ServerTask.treePrefix), "a tree must be known as one in the list of all tasks")
        guard !state.withLock({ $0.isStopping }) else { throw BackupFailure(.unavailable, "The server stops") }
        let task = registry.start(type, id: id, owner: owner)
        let tree = TaskTree(task: task, ids: ids, time: time) { [weak self] in self?.changed($0, $1) }
        changes.created(tree.rootID, .tree)
        state.withLock { $0.growing[tree.rootID] = tree }
        let stream = isFollowed ? TaskStream(rootID: tree.rootID) : nil
        return TaskRoot(node: tree.begin(name, properties, stream: stream), stream: stream)
    }

    private func changed(_ tree: TaskTree, _ change: TaskTree.Change) {
        let id = tree.rootID
        switch change {
        case .news:
            changes.changed(id, .tree)
            let isFirst = state.withLock { $0.scheduled.insert(id).inserted }
            guard isFirst else { return }
            Task { [weak self] in
                try? await Task.sleep(for: Self.writeInterval)
                await self?.write(tree)
            }
        case .end:
            changes.changed(id, .tree)
            Task { await write(tree) }
        }
    }

    // MARK: The disk

    func write(_ tree: TaskTree) async {
        state.withLock { _ = $0.scheduled.remove(tree.rootID) }
        do {
            try await workers.run { self.save(tree) }
        } catch {
            // The pool takes nothing more: this thread does it, so that the end gets written.
            save(tree)
        }
    }

    private func save(_ tree: TaskTree) {
        let id = tree.rootID
        guard state.withLock({ $0.growing[id] != nil }) else { return }
        let json = JSONValue.object(tree.json(of: id))
        let isEnded = json["end"] != nil
        var isWritten = true
        do { try folder.write(json, id, isEnded: isEnded) } catch {
            isWritten = false
            log.error("the log of a task cannot be written", metadata: ["task": "\(id)", "reason": "\(error)"])
        }
        guard isEnded else { return }
        let mustRemove = state.withLock { [isWritten] state in
            state.growing[id] = nil
            state.ended.insert(id)
            if !isWritten { state.unwritten[id] = json }
            state.endedCount += 1
            return state.endedCount.isMultiple(of: Self.removalInterval)
        }
        if mustRemove { removeOld() }
    }

    private func removeOld() {
        let limit = time.nanoseconds() / 1_000_000 - Self.maxAge
        let old = state.withLock { $0.ended }.sorted(by: >).dropFirst(Self.minTrees).filter { id in
            TaskIDs.time(of: id).map { $0 < limit } ?? false
        }
        for id in old {
            do { try remove(id) } catch {
                log.warning("an old log of a task stays", metadata: ["task": "\(id)", "reason": "\(error)"])
            }
        }
    }

    /// Removes an ended tree. Blocks.
    func remove(_ id: String) throws {
        let last = try endedJSON(id)
        try folder.remove(id)
        state.withLock { state in
            state.ended.remove(id)
            state.unwritten[id] = nil
        }
        changes.removed(id, .tree, last: last ?? ["id": .string(id)])
    }

    /// An ended tree; nil where there is none of that id, or it cannot be read. Blocks.
    func endedJSON(_ id: String) throws -> JSONValue? {
        let (isKnown, unwritten) = state.withLock { ($0.ended.contains(id), $0.unwritten[id]) }
        if let unwritten { return unwritten }
        guard isKnown, let bytes = try folder.read(id) else { return nil }
        return try? JSONValue(parsing: bytes)
    }

    // MARK: Stopping

    /// Asks all trees to end and waits for them; what has not ended after `patience` is closed here. What ends so was
    /// interrupted. Waiters for events return, and nothing can be started any more.
    package func shutDown(patience: Duration = .seconds(20)) async {
        let trees = state.withLock { state in
            state.isStopping = true
            return Array(state.growing.values)
        }
        for tree in trees { tree.stop() }
        let deadline = Task {
            try await Task.sleep(for: patience)
            for tree in trees { tree.forceEnd() }
        }
        for tree in trees { await tree.waitUntilEnded() }
        deadline.cancel()
        changes.close()
        for tree in trees { await write(tree) }
    }
}

/// The root of a tree, for whoever runs its work.
package struct TaskRoot: Sendable {
    package let node: TaskNode
    /// The events, where they were asked for.
    package let stream: TaskStream?

    package var id: String { node.id }

    /// Runs the work of the whole tree and ends the root: with success, or with what `body` throws.
    ///
    /// The work goes on when the caller's task is cancelled; only aborting the task ends it.
    package func run<Value: Sendable>(
        result: @escaping @Sendable (Value) -> JSONValue? = { _ in nil },
        _ body: @escaping @Sendable (TaskNode) async throws -> Value
    ) async throws -> Value {
        let node = node
        let work = Task {
            do {
                let value = try await node.cancellable { try await body(node) }
                node.end(isSuccess: true, result(value))
                return value
            } catch {
                node.end(isSuccess: false, TaskFailure.json(error, isCancelled: node.isCancelled))
                throw error
            }
        }
        return try await work.value
    }
}
