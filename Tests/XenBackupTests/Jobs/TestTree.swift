import BackupFormats
import Synchronization
import Tasks

/// A tree of tasks in memory, as its events make it.
final class TestTree: TaskTreeSink {
    struct Record: Sendable {
        var id = ""
        var parent: String?
        var name = ""
        var properties = JSONObject()
        var infos: [(message: String, data: JSONValue?)] = []
        var warnings: [(message: String, data: JSONValue?)] = []
        var isSuccess: Bool?
        var result: JSONValue?

        var message: String? { result?["message"]?.stringValue }
    }

    private struct State {
        var records: [Record] = []
        var nodes: [String: TaskNode] = [:]
        var broken: [String] = []
    }

    private let state = Mutex(State())

    func root(_ name: String = "backup run") -> TaskNode {
        state.withLock { $0.records = [Record(id: "0", name: name)] }
        return TaskNode(id: "0", name: name, tree: self)
    }

    func start(_ name: String, _ properties: JSONObject, below parent: TaskNode) -> TaskNode {
        let id = state.withLock { state in
            let id = String(state.records.count)
            if state.records.first(where: { $0.id == parent.id })?.isSuccess != nil {
                state.broken.append("\(name) starts below \(parent.name), which has ended")
            }
            state.records.append(Record(id: id, parent: parent.id, name: name, properties: properties))
            return id
        }
        let node = TaskNode(id: id, name: name, tree: self, parent: parent)
        state.withLock { $0.nodes[id] = node }
        return node
    }

    /// A running task of that name whose property `id` is this.
    func node(_ name: String, where id: String) -> TaskNode? {
        state.withLock { state in
            state.records.first { $0.name == name && $0.properties["id"]?.stringValue == id }
                .flatMap { state.nodes[$0.id] }
        }
    }

    func emit(_ kind: TaskEvent.Kind, of task: TaskNode) {
        state.withLock { state in
            guard let index = state.records.firstIndex(where: { $0.id == task.id }) else { return }
            if state.records[index].isSuccess != nil { state.broken.append("\(task.name) speaks after its end") }
            switch kind {
            case .info(let message, let data): state.records[index].infos.append((message, data))
            case .warning(let message, let data): state.records[index].warnings.append((message, data))
            case .end(let isSuccess, let result):
                state.records[index].isSuccess = isSuccess
                state.records[index].result = result
                if state.records.contains(where: { $0.parent == task.id && $0.isSuccess == nil }) {
                    state.broken.append("\(task.name) ends before its children")
                }
            default: break
            }
        }
    }

    /// What breaks the rules of nesting.
    var broken: [String] { state.withLock { $0.broken } }
    var records: [Record] { state.withLock { $0.records } }
    func all(_ name: String) -> [Record] { records.filter { $0.name == name } }
    func children(of record: Record) -> [Record] { records.filter { $0.parent == record.id } }
    func warnings(_ name: String) -> [String] { all(name).flatMap { $0.warnings.map(\.message) } }
    func infos(_ name: String) -> [String] { all(name).flatMap { $0.infos.map(\.message) } }
    /// The value of `reason` in what was said of a task, whether info or warning.
    func reasons(_ message: String) -> [String] {
        records.flatMap { $0.infos + $0.warnings }.filter { $0.message == message }
            .compactMap { $0.data?["reason"]?.stringValue }
    }
}
