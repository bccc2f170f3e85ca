import BackupFormats
import Logging
import Platform
import StateDatabase
import Synchronization
import Testing

@testable import Tasks

/// Trees on a state folder of their own, beside a registry.
final class TreeSetting: Sendable {
    let tasks: TaskSetting
    let trees: TaskTrees

    init() throws {
        tasks = try TaskSetting()
        trees = try Self.open(tasks)
    }

    static func open(_ tasks: TaskSetting, registry: TaskRegistry? = nil) throws -> TaskTrees {
        try TaskTrees(
            folder: tasks.folder.path(of: "xo-tasks"), registry: registry ?? tasks.registry,
            owner: #require(AuthID(parsing: "root@pam")), time: tasks.clock.source, log: Logger(label: "test"))
    }

    func start(_ name: String = "backup run", _ properties: JSONObject = [:], isFollowed: Bool = true) throws
        -> TaskRoot
    {
        try trees.start("xo-backup", id: "job-1", name: name, properties: properties, isFollowed: isFollowed)
    }

    /// All events of a tree up to its end.
    func events(_ root: TaskRoot) async throws -> [TaskEvent] {
        let stream = try #require(root.stream)
        var events: [TaskEvent] = []
        while true {
            switch try await stream.next(within: .seconds(120)) {
            case .events(let more): events += more
            case .silence: throw BackupFailure(.internalFault, "the tree says nothing")
            case .end: return events
            }
        }
    }

    /// Waits until a tree's end is on the disk.
    func settle(_ id: String) async throws {
        for _ in 0..<6000 {
            if trees.state.withLock({ $0.growing[id] == nil && $0.ended.contains(id) }) { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("the tree \(id) was not written")
    }
}

/// A failure with a text of its own.
func failure(_ text: String, _ kind: BackupFailure.Kind = .unavailable) -> BackupFailure { BackupFailure(kind, text) }
