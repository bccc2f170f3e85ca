import BackupFormats
import Logging
import Platform
import StateDatabase
import Synchronization
import Testing

@testable import Tasks

/// A clock that stands until a test moves it.
final class HandClock: Sendable {
    private let now = Mutex<Int64>(1_717_200_000)

    var source: TimeSource { TimeSource { [self] in now.withLock { $0 } * 1_000_000_000 } }
    var seconds: Int64 { now.withLock { $0 } }

    func move(by seconds: Int64) { now.withLock { $0 += seconds } }
}

/// A registry on a state folder of its own, which goes with it.
final class TaskSetting: Sendable {
    let folder: StateFolder
    let database: StateDatabase
    let registry: TaskRegistry
    let clock = HandClock()

    init() throws {
        folder = try StateFolder(path: FileSystem.makeTemporaryFolder(prefix: "cairn-tasks"))
        database = try StateDatabase(folder: folder)
        registry = try Self.open(database, pid: 7, clock)
    }

    deinit {
        database.close()
        try? FileSystem.removeTree(folder.path)
    }

    static func open(_ database: StateDatabase, pid: UInt32, _ clock: HandClock) throws -> TaskRegistry {
        try TaskRegistry(
            database: database, process: ProcessIdentity(node: "host1", pid: pid, startTime: 0x1a2b),
            time: clock.source,
            log: Logger(label: "test"))
    }

    func start(_ type: String = "backup", _ id: String? = "s1:host/web", owner: String = "u@pbs") throws -> RunningTask
    {
        registry.start(type, id: id, owner: try #require(AuthID(parsing: owner)))
    }

    /// Runs a task to its end.
    func end(
        _ type: String = "backup", _ id: String? = "s1:host/web", owner: String = "u@pbs", outcome: TaskOutcome = .ok,
        warnings: Int = 0
    ) async throws -> UPID {
        let task = try start(type, id, owner: owner)
        for number in 0..<warnings { task.warn("number \(number)") }
        task.finish(outcome)
        await task.waitUntilStopped()
        return task.upid
    }

    func lines(_ upid: UPID) throws -> [String] {
        try #require(try registry.log(upid, start: 1, limit: 0)).lines.map(\.text)
    }

    func list(_ filter: TaskFilter = TaskFilter()) throws -> [String?] {
        try registry.list(filter) { _ in true }.tasks.map(\.upid.workerID)
    }
}
