import AccessControl
import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import Logging
import Platform
import StateDatabase
import Synchronization
import Tasks
import Testing

/// Jobs over one datastore, with a clock that a test moves and work that only says that it was done.
final class JobWorld: Sendable {
    let folder: String
    let clock: ManualClock
    let database: StateDatabase
    let access: AccessControl
    let stores: DatastoreRegistry
    let work = Work()
    private let current: Mutex<(tasks: TaskRegistry, jobs: JobService)>

    /// What jobs do here.
    final class Work: Sendable {
        struct State {
            var done: [String] = []
            /// Runs of these jobs wait until they are let go.
            var held: [String: [CheckedContinuation<Void, Never>]] = [:]
            var failing: Set<String> = []
        }
        let state = Mutex(State())

        var done: [String] { state.withLock { $0.done } }
        func hold(_ job: String) { state.withLock { $0.held[job] = [] } }
        func fail(_ job: String, _ isFailing: Bool = true) {
            state.withLock { state in
                if isFailing { state.failing.insert(job) } else { state.failing.remove(job) }
            }
        }

        func letGo(_ job: String) {
            for waiter in state.withLock({ $0.held.removeValue(forKey: job) }) ?? [] { waiter.resume() }
        }

        func run(_ job: Job) async throws {
            let name = job.id.text
            await withCheckedContinuation { continuation in
                let isHeld = state.withLock { state in
                    state.done.append(name)
                    guard state.held[name] != nil else { return false }
                    state.held[name]?.append(continuation)
                    return true
                }
                if !isHeld { continuation.resume() }
            }
            if state.withLock({ $0.failing.contains(name) }) { throw BackupFailure(.storageFull, "no room") }
        }
    }

    var tasks: TaskRegistry { current.withLock { $0.tasks } }
    var jobs: JobService { current.withLock { $0.jobs } }
    var root: Identity { access.inProcessRoot() }

    /// - Parameter start: When the clock begins, as text.
    init(at start: String = "2024-06-01T00:00:10Z") throws {
        folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-jobs")
        clock = ManualClock(seconds: try #require(BackupTime.parse(start)))
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        database = try StateDatabase(folder: StateFolder(path: folder + "/state"))
        access = try AccessControl(
            database: database, hashing: PasswordHasher(width: 1), time: clock.source, log: log)
        var options = StoreOptions()
        options.makesPrefixFolders = false
        options.syncLevel = .none
        options.minimumFreeByteCount = 0
        stores = try DatastoreRegistry(database: database, options: options, roots: [], logger: log)
        let record = DatastoreRecord(name: "store1", path: folder + "/store1")
        let grant = try access.grant(.all, on: .root, to: access.inProcessRoot())
        try stores.reserve(record, by: grant)
        try stores.create(record, reusing: false, by: grant)
        current = Mutex(try Self.start(database, stores, work, clock))
    }

    deinit {
        stores.closeAll()
        database.close()
        try? FileSystem.removeTree(folder)
    }

    private static func start(
        _ database: StateDatabase, _ stores: DatastoreRegistry, _ work: Work, _ clock: ManualClock
    ) throws -> (TaskRegistry, JobService) {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let tasks = try TaskRegistry(database: database, process: .current, time: clock.source, log: log)
        let body: JobWork.Body = { job, _ in try await work.run(job) }
        let jobs = JobService(
            database: database, stores: stores, tasks: tasks,
            work: JobWork(collect: body, prune: body, verify: body, sync: body), time: clock.source,
            localOffset: { _ in 0 }, log: log)
        return (tasks, jobs)
    }

    /// Ends the server's part and starts it anew.
    func restart() async throws {
        await tasks.shutDown(patience: .zero)
        let new = try Self.start(database, stores, work, clock)
        current.withLock { $0 = new }
    }

    func set(_ settings: JSONObject) throws {
        let grant = try access.grant(.all, on: .root, to: root)
        try stores.update("store1", settings: settings, removed: [], digest: nil, by: grant)
    }

    func add(_ name: String, _ schedule: String, to section: JobSection = .verify) throws {
        try jobs.add(name, to: section, ["store": "store1", "schedule": .string(schedule)], by: root, access)
    }

    /// Moves the clock to a time and does the work of that minute; returns when the jobs started by it have ended.
    @discardableResult
    func tick(at time: String) async throws -> Int {
        clock.advance(seconds: try #require(BackupTime.parse(time)) - clock.seconds)
        let started = try jobs.runDue()
        for task in started { await ended(task) }
        return started.count
    }

    /// Returns when a job's task has ended and the job may run again.
    func ended(_ task: UPID) async {
        await tasks.waitUntilStopped(task)
        while (try? jobs.jobs().contains { try jobs.status(of: $0).isRunning }) == true {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }
}
