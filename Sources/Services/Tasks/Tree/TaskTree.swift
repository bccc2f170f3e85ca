import BackupFormats
import Synchronization

/// One tree of tasks: takes the events of its nodes, keeps them nested, and tells all who look on.
///
/// Invariants: the root's start is the first event and its end the last; a child starts after its parent started and
/// ends before it ends; times never go back; nothing is told of a task that has ended.
final class TaskTree: TaskTreeSink {
    enum Change: Sendable {
        case news
        case end
    }

    let rootID: String
    private let ids: TaskIDs
    private let time: TimeSource
    private let changed: @Sendable (TaskTree, Change) -> Void
    /// The same work in the list of all tasks.
    private let task: RunningTask

    private struct State {
        var fold = TaskFold()
        var nodes: [String: TaskNode] = [:]
        var stream: TaskStream?
        var lastTime: Int64 = 0
        var isStopping = false
        var isEnded = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    init(
        task: RunningTask, ids: TaskIDs, time: TimeSource, changed: @escaping @Sendable (TaskTree, Change) -> Void
    ) {
        self.task = task
        self.ids = ids
        self.time = time
        self.changed = changed
        rootID = ids.next(at: Self.milliseconds(time))
    }

    /// Starts the root. Called once, first.
    func begin(_ name: String, _ properties: JSONObject, stream: TaskStream?) -> TaskNode {
        let root = TaskNode(id: rootID, name: name, tree: self)
        state.withLock { state in
            state.stream = stream
            state.nodes[rootID] = root
            add(.start(parent: nil, name: name, properties: properties), of: rootID, &state)
        }
        changed(self, .news)
        task.onAbort { [weak self] in self?.abort() }
        return root
    }

    private static func milliseconds(_ time: TimeSource) -> Int64 { time.nanoseconds() / 1_000_000 }

    // MARK: Events

    func start(_ name: String, _ properties: JSONObject, below parent: TaskNode) -> TaskNode {
        // The id is made under the lock, so that ids stand in the stream in their order.
        let (child, isTold) = state.withLock { state in
            let child = TaskNode(id: ids.next(at: Self.milliseconds(time)), name: name, tree: self, parent: parent)
            let event = TaskEvent.Kind.start(parent: parent.id, name: name, properties: properties)
            guard add(event, of: child.id, &state) else { return (child, false) }
            state.nodes[child.id] = child
            return (child, true)
        }
        if isTold { changed(self, .news) }
        return child
    }

    func emit(_ kind: TaskEvent.Kind, of node: TaskNode) {
        if case .end = kind { return end(kind, of: node.id) }
        let isTold = state.withLock { add(kind, of: node.id, &$0) }
        if isTold { changed(self, .news) }
    }

    private func end(_ kind: TaskEvent.Kind, of id: String) {
        var outcome: TaskOutcome?
        let (isTold, waiters) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
            // What has not ended below it was forgotten; the readers must not see it end later.
            for child in state.fold.pending(below: id) {
                let result: JSONValue =
                    state.isStopping
                    ? TaskFailure.json(CancellationError())
                    : ["name": "Error", "message": "the task above it has ended"]
                add(.end(isSuccess: false, result: result), of: child, &state)
                state.nodes[child] = nil
            }
            guard add(kind, of: id, &state) else { return (false, []) }
            state.nodes[id] = nil
            guard id == rootID else { return (true, []) }
            outcome = TaskTreeLog.outcome(state.fold)
            state.isEnded = true
            state.stream = nil
            defer { state.waiters = [] }
            return (true, state.waiters)
        }
        guard isTold else { return }
        if let outcome { task.finish(outcome) }
        changed(self, id == rootID ? .end : .news)
        for waiter in waiters { waiter.resume() }
    }

    @discardableResult
    private func add(_ kind: TaskEvent.Kind, of id: String, _ state: inout State) -> Bool {
        state.lastTime = max(state.lastTime, Self.milliseconds(time))
        let event = TaskEvent(taskID: id, time: state.lastTime, kind: kind)
        guard state.fold.apply(event) else { return false }
        if state.isStopping, case .end(false, let result) = kind,
            result?["name"]?.stringValue == TaskFailure.cancelledName
        {
            state.fold.markInterrupted(id)
        }
        state.stream?.put(event)
        TaskTreeLog.write(event, of: state.fold, to: task)
        return true
    }

    // MARK: Ending

    /// Asks a task of the tree to end.
    ///
    /// - Returns: Its status where it has ended already, nil where it was asked.
    func cancel(_ id: String, reason: String) -> TaskTreeStatus? {
        // The whole tree is ended through the list of tasks, so that both say the same.
        if id == rootID, status(of: id) == .pending {
            task.abort()
            return nil
        }
        let (node, isNews, status) = state.withLock { state -> (TaskNode?, Bool, TaskTreeStatus?) in
            guard let record = state.fold.records[id], record.end == nil else {
                return (nil, false, state.fold.status(of: id))
            }
            let isNews =
                record.abortionRequestedAt == nil
                && add(.abortionRequested(reason: reason), of: id, &state)
            return (state.nodes[id], isNews, nil)
        }
        if isNews { changed(self, .news) }
        node?.cancel()
        return status
    }

    private func abort() {
        let node = state.withLock { state in
            add(.abortionRequested(reason: "the task was asked to end"), of: rootID, &state)
            return state.nodes[rootID]
        }
        changed(self, .news)
        node?.cancel()
    }

    /// The server stops: what ends by being cancelled from now on was interrupted.
    func stop() {
        let node = state.withLock { state in
            state.isStopping = true
            return state.nodes[rootID]
        }
        node?.cancel()
    }

    /// Ends the root as interrupted, whatever its code still does.
    func forceEnd() {
        end(.end(isSuccess: false, result: TaskFailure.json(CancellationError())), of: rootID)
    }

    /// Returns when the root has ended.
    func waitUntilEnded() async {
        await withCheckedContinuation { continuation in
            let isEnded = state.withLock { state in
                if !state.isEnded { state.waiters.append(continuation) }
                return state.isEnded
            }
            if isEnded { continuation.resume() }
        }
    }

    // MARK: Looking

    func contains(_ id: String) -> Bool { state.withLock { $0.fold.records[id] != nil } }

    func status(of id: String) -> TaskTreeStatus { state.withLock { $0.fold }.status(of: id) }

    /// The task and what is below it; of the root also the name that the list of all tasks has for it.
    func json(of id: String) -> JSONObject {
        var json = state.withLock { $0.fold }.json(of: id)
        if id == rootID { json["upid"] = .string("\(task.upid)") }
        return json
    }
}
