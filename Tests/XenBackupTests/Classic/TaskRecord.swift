import BackupFormats
import Synchronization
import Tasks

/// A tree of tasks that only remembers.
final class TaskRecord: TaskTreeSink {
    private struct State {
        var next = 0
        var names: [String: String] = [:]
        var events: [(name: String, kind: TaskEvent.Kind)] = []
    }

    private let state = Mutex(State())

    func root() -> TaskNode { TaskNode(id: "root", name: "root", tree: self) }

    func start(_ name: String, _ properties: JSONObject, below parent: TaskNode) -> TaskNode {
        let id = state.withLock { state in
            state.next += 1
            state.names["\(state.next)"] = name
            state.events.append((name, .start(parent: parent.id, name: name, properties: properties)))
            return "\(state.next)"
        }
        return TaskNode(id: id, name: name, tree: self)
    }

    func emit(_ kind: TaskEvent.Kind, of task: TaskNode) {
        state.withLock { $0.events.append((task.name, kind)) }
    }

    /// Texts of the warnings, in order.
    var warnings: [String] {
        state.withLock { $0.events }.compactMap { event in
            if case .warning(let message, _) = event.kind { message } else { nil }
        }
    }

    /// Results of the tasks of that name that ended well.
    func results(_ name: String) -> [JSONValue?] {
        state.withLock { $0.events }.compactMap { event in
            if event.name == name, case .end(true, let result) = event.kind { .some(result) } else { nil }
        }
    }
}
