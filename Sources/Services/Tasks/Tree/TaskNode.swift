package import BackupFormats
import Synchronization

/// A piece of work with a name, inside a tree of tasks: where its code says what happens. (Spec: xo-proxy §1.9, §5.5.)
///
/// The root is given by whoever starts the work; parts of it run in ``run(_:_:result:_:)``, which starts the child before
/// its body and ends it after it, so that the tree is nested at all times. Nothing here waits.
package final class TaskNode: Sendable {
    package let id: String
    package let name: String
    private let tree: any TaskTreeSink
    /// Nil for the root.
    private let parent: TaskNode?
    private let state = Mutex(State())

    private struct State {
        var isCancelled = false
        var isEnded = false
        var cancelHandlers: [Int: @Sendable () -> Void] = [:]
        var nextHandler = 0
        var lastProgress = -1
    }

    /// Made by the tree; the start event is the caller's.
    package init(id: String, name: String, tree: any TaskTreeSink, parent: TaskNode? = nil) {
        self.id = id
        self.name = name
        self.tree = tree
        self.parent = parent
    }

    /// Runs a part of this task as a child. It ends with success and `result`, or fails with what `body` throws.
    ///
    /// The body runs in a Swift task that is cancelled when this child, or a task above it, is asked to end.
    ///
    /// - Parameter result: The child's `result` in the log; nil leaves it out.
    package func run<Value: Sendable>(
        _ name: String, _ properties: JSONObject = [:],
        result: @escaping @Sendable (Value) -> JSONValue? = { _ in nil },
        _ body: @escaping @Sendable (TaskNode) async throws -> Value
    ) async throws -> Value {
        let child = tree.start(name, properties, below: self)
        do {
            let value = try await child.cancellable { try await body(child) }
            child.end(isSuccess: true, result(value))
            return value
        } catch {
            child.end(isSuccess: false, TaskFailure.json(error, isCancelled: child.isCancelled))
            throw error
        }
    }

    /// Runs `body` in a task that ``cancel()`` cancels.
    package func cancellable<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let work = Task { try await body() }
        let handler = onCancel { work.cancel() }
        defer { removeHandler(handler) }
        return try await withTaskCancellationHandler {
            try await work.value
        } onCancel: {
            work.cancel()
        }
    }

    package func info(_ message: String, _ data: JSONValue? = nil) { emit(.info(message: message, data: data)) }
    package func warning(_ message: String, _ data: JSONValue? = nil) { emit(.warning(message: message, data: data)) }

    /// Says how much is done, 0 to 1; events are emitted for whole percents only.
    package func progress(_ fraction: Double) {
        let percent = Int(min(1, max(0, fraction)) * 100)
        let isNews = state.withLock { state in
            defer { state.lastProgress = max(percent, state.lastProgress) }
            return percent > state.lastProgress
        }
        if isNews { emit(.property(name: "progress", value: .integer(percent))) }
    }

    /// Whether this task, or one above it, was asked to end.
    package var isCancelled: Bool { state.withLock { $0.isCancelled } || parent?.isCancelled ?? false }

    /// Asks this task to end; those below it hear of it through the cancellation of their Swift tasks.
    package func cancel() {
        let handlers = state.withLock { state in
            guard !state.isCancelled, !state.isEnded else { return [@Sendable () -> Void]() }
            state.isCancelled = true
            return Array(state.cancelHandlers.values)
        }
        for handler in handlers { handler() }
    }

    /// Ends the task; only the first call counts. For roots; children end with their body.
    package func end(isSuccess: Bool, _ result: JSONValue? = nil) {
        let isFirst = state.withLock { state in
            defer { state.isEnded = true }
            return !state.isEnded
        }
        if isFirst { tree.emit(.end(isSuccess: isSuccess, result: result), of: self) }
    }

    private func emit(_ kind: TaskEvent.Kind) {
        guard !state.withLock({ $0.isEnded }) else { return }
        tree.emit(kind, of: self)
    }

    private func onCancel(_ handler: @escaping @Sendable () -> Void) -> Int? {
        let (key, isCancelled) = state.withLock { state -> (Int?, Bool) in
            guard !state.isCancelled else { return (nil, true) }
            defer { state.nextHandler += 1 }
            state.cancelHandlers[state.nextHandler] = handler
            return (state.nextHandler, false)
        }
        if isCancelled { handler() }
        return key
    }

    private func removeHandler(_ key: Int?) {
        guard let key else { return }
        state.withLock { $0.cancelHandlers[key] = nil }
    }
}

/// Where the nodes of one tree send their events.
package protocol TaskTreeSink: Sendable {
    /// Makes a child, with its start event.
    func start(_ name: String, _ properties: JSONObject, below parent: TaskNode) -> TaskNode
    func emit(_ kind: TaskEvent.Kind, of task: TaskNode)
}
