package import BackupFormats
package import Logging
import Platform
package import StateDatabase
import Synchronization

/// What tells the tasks of this process from others: the middle of their ids.
package struct ProcessIdentity: Sendable {
    private static let maxNodeLength = 63

    package let node: String
    package let pid: UInt32
    /// When the process started, in kernel ticks.
    package let startTime: UInt64

    /// A node name that no task id can hold becomes `localhost`.
    package init(node: String, pid: UInt32, startTime: UInt64) {
        self.node = SafeID.isValid(node) && node.utf8.count <= Self.maxNodeLength ? node : "localhost"
        self.pid = pid
        self.startTime = startTime & 0xf_ffff_ffff
    }

    /// This process.
    package static var current: ProcessIdentity {
        ProcessIdentity(
            node: ProcessInformation.hostName, pid: UInt32(bitPattern: ProcessInformation.id),
            startTime: ProcessInformation.startTime)
    }
}

/// What happens to a task, as the list of all tasks sees it.
package enum TaskChange: Sendable {
    case started, ended, removed
}

/// All tasks: those that run, in memory; those that ended, in the database; and their logs.
package final class TaskRegistry: Sendable {
    /// Ended tasks that are kept at most, with their logs.
    package static let maxEndedTasks = 20_000
    /// Where the node's setting `task-log-max-days` says nothing, so many of the newest stay however old they are, and
    /// all others so many days.
    package static let minEndedTasks = 1_000
    package static let defaultDays: Int64 = 30
    /// Tasks that end between two removals, and those that are removed in one transaction.
    static let removalInterval = 256
    private static let removalBatch = 500
    /// Escaped, each byte takes four; with the other parts that is less than ``UPID/maxLength``.
    private static let maxWorkerIDLength = 400

    let database: StateDatabase
    let logs: TaskLogStore
    private let process: ProcessIdentity
    private let time: TimeSource
    private let log: Logger
    private let writer = WorkerPool(name: "task logs", width: 1)

    private let lock: StateFolderLock

    private struct State {
        var running: [UPID: RunningTask] = [:]
        var nextID: UInt64 = 0
        var endedCount = 0
        var endedByClass: [TaskStatusClass: Int] = [:]
    }
    private let state = Mutex(State())
    private let observers = Mutex<[@Sendable (TaskInfo, TaskChange) -> Void]>([])
    /// Open logs; only the writer's thread touches them, the lock is for the compiler.
    private let files = Mutex<[UPID: OpenLog]>([:])

    private struct OpenLog {
        var file: OpenFile?
        var length: Int
    }

    /// Closes the tasks of a server that died as interrupted, and removes the oldest ended ones.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where another server works with the state folder.
    package init(database: StateDatabase, process: ProcessIdentity, time: TimeSource, log: Logger) throws {
        self.database = database
        self.process = process
        self.time = time
        self.log = log
        logs = TaskLogStore(folder: database.folder.path(of: "tasks"))
        lock = try database.folder.lock()
        try closeInterrupted()
        try rotate()
    }

    deinit { writer.close() }

    /// Starts a task. Returns at once: list and log are written by another thread.
    ///
    /// - Parameters:
    ///   - workerType: A word of the program, for example `backup`.
    ///   - id: What the task works on, for example `store1:host/web`.
    package func start(_ workerType: String, id: String?, owner: AuthID) -> RunningTask {
        let now = time.seconds
        let shortID = id.map { String(decoding: $0.utf8.prefix(Self.maxWorkerIDLength), as: UTF8.self) }
        let task = state.withLock { state in
            defer { state.nextID += 1 }
            guard
                let upid = UPID(
                    node: process.node, pid: process.pid, processStart: process.startTime, taskID: state.nextID,
                    startTime: min(max(0, now), 0xffff_ffff), workerType: workerType, workerID: shortID, authID: owner)
            else { preconditionFailure("worker types are words of the program, and the other parts are checked") }
            let task = RunningTask(upid: upid, time: time) { [weak self] in self?.schedule($0) }
            state.running[upid] = task
            return task
        }
        tell(task.info, .started)
        schedule(task)
        return task
    }

    /// Has `body` called at each change, as long as the registry lives; it must not block.
    package func observe(_ body: @escaping @Sendable (TaskInfo, TaskChange) -> Void) {
        observers.withLock { $0.append(body) }
    }

    private func tell(_ task: TaskInfo, _ change: TaskChange) {
        for observer in observers.withLock({ $0 }) { observer(task, change) }
    }

    /// Starts a task whose work is `body`: what it throws is the task's error, an abort cancels it.
    @discardableResult
    package func run(
        _ workerType: String, id: String?, owner: AuthID, _ body: @escaping @Sendable (RunningTask) async throws -> Void
    ) -> UPID {
        let task = start(workerType, id: id, owner: owner)
        let work = Task {
            do {
                try await body(task)
                task.finish()
            } catch {
                task.finish(.error("\(error)"))
            }
        }
        task.onAbort { work.cancel() }
        return task.upid
    }

    package func running(_ upid: UPID) -> RunningTask? { state.withLock { $0.running[upid] } }

    var runningTasks: [RunningTask] { state.withLock { Array($0.running.values) }.filter { !$0.isWithdrawn } }

    /// Running tasks by worker type, and those that ended since the server started by how they ended.
    package var counts: (running: [String: Int], ended: [TaskStatusClass: Int]) {
        let running = runningTasks.reduce(into: [:]) { $0[$1.upid.workerType, default: 0] += 1 }
        return (running, state.withLock { $0.endedByClass })
    }

    /// Asks a task to end; it does so in its own time.
    ///
    /// - Returns: Whether it runs.
    @discardableResult
    package func abort(_ upid: UPID) -> Bool {
        guard let task = running(upid) else { return false }
        task.abort()
        return true
    }

    /// Returns when the task has ended; at once where none of that id runs.
    package func waitUntilStopped(_ upid: UPID) async { await running(upid)?.waitUntilStopped() }

    /// Aborts what runs and waits for it; what has not ended after `patience` is ended here. Nothing may be started
    /// afterwards: the state folder is free for another server.
    package func shutDown(patience: Duration = .seconds(10)) async {
        let tasks = runningTasks
        for task in tasks { task.abort() }
        let deadline = Task {
            try await Task.sleep(for: patience)
            for task in tasks { task.finish(.error("the server was shut down")) }
        }
        for task in tasks { await task.waitUntilStopped() }
        deadline.cancel()
        lock.release()
    }

    // MARK: Writing

    private func schedule(_ task: RunningTask) {
        Task {
            do {
                try await writer.run { self.work(for: task) }
            } catch {
                // The pool takes nothing more: this thread does it, so that the last line gets written.
                work(for: task)
            }
        }
    }

    private func work(for task: RunningTask) {
        let upid = task.upid
        openLog(of: upid)
        while true {
            switch task.takeWork() {
            case .rest: return
            case .write(let bytes): append(bytes, to: upid)
            case .close(let status):
                store(upid, endTime: time.seconds, status: status)
                end(task)
            case .discard:
                discard(upid)
                end(task)
            }
        }
    }

    private func end(_ task: RunningTask) {
        files.withLock { $0[task.upid] = nil }
        let status = task.status
        let mustRemove = state.withLock { state in
            state.running[task.upid] = nil
            state.endedCount += 1
            if let status, !task.isWithdrawn { state.endedByClass[TaskStatus.classify(status), default: 0] += 1 }
            return state.endedCount.isMultiple(of: Self.removalInterval)
        }
        let ended = TaskInfo(upid: task.upid, endTime: time.seconds, status: status)
        tell(ended, task.isWithdrawn ? .removed : .ended)
        task.markStopped()
        guard mustRemove else { return }
        do { try rotate() } catch {
            log.warning("old tasks stay", metadata: ["reason": "\(error)"])
        }
    }

    private func discard(_ upid: UPID) {
        do {
            try database.write { try $0.removeTask(upid.description) }
            try logs.remove(upid)
        } catch {
            log.error("a withdrawn task stays listed", metadata: ["task": "\(upid)", "reason": "\(error)"])
        }
    }

    /// Makes list entry and log of a task that is seen for the first time.
    private func openLog(of upid: UPID) {
        guard running(upid) != nil, files.withLock({ $0[upid] == nil }) else { return }
        store(upid, endTime: nil, status: nil)
        let file: OpenFile?
        do { file = try logs.open(upid) } catch {
            file = nil
            log.error("no log for a task", metadata: ["task": "\(upid)", "reason": "\(error)"])
        }
        files.withLock { $0[upid] = OpenLog(file: file, length: 0) }
    }

    private func append(_ bytes: [UInt8], to upid: UPID) {
        files.withLock { files in
            guard var open = files[upid], let file = open.file else { return }
            var bytes = bytes[...]
            if open.length + bytes.count > TaskLogStore.maxLogLength {
                // Only the line that tells how the task ended still has a place.
                let start = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? bytes.startIndex
                bytes = bytes[start...]
                guard TaskLogStore.isLastLine(bytes) else { return }
            }
            do { try file.write(Array(bytes), at: open.length) } catch {
                log.error("a task's log cannot be written", metadata: ["task": "\(upid)", "reason": "\(error)"])
                open.file = nil
            }
            open.length += bytes.count
            files[upid] = open
        }
    }

    private func store(_ upid: UPID, endTime: Int64?, status: String?) {
        do {
            try database.write { state in
                try state.put(
                    TaskRecord(
                        upid: upid.description, startTime: upid.startTime, workerType: upid.workerType,
                        workerID: upid.workerID, owner: upid.authID.description, endTime: endTime, status: status))
            }
        } catch {
            log.error("a task cannot be listed", metadata: ["task": "\(upid)", "reason": "\(error)"])
        }
    }

    // MARK: Starting

    private func closeInterrupted() throws {
        let now = time.seconds
        for var record in try database.read({ try $0.unfinishedTasks() }) {
            if let upid = try? UPID(parsing: record.upid) {
                do { try logs.close(upid, status: TaskStatus.interrupted, at: now) } catch {
                    log.warning("the log of an interrupted task stays open", metadata: ["reason": "\(error)"])
                }
            }
            record.endTime = now
            record.status = TaskStatus.interrupted
            let closed = record
            try database.write { try $0.put(closed) }
        }
    }

    // MARK: Rotation

    /// Removes ended tasks that are too old or too many, with their logs, oldest first; running ones never. Blocks.
    package func rotate() throws {
        let setting = try database.read { try $0.entries(.node) }.lazy.compactMap {
            $0.properties["task-log-max-days"]?.intValue
        }.first
        let days = min(setting ?? Self.defaultDays, 100 * 366)
        try remove(before: time.seconds - max(0, days) * 86400, beyondNewest: setting == nil ? Self.minEndedTasks : 0)
        try remove(before: .max, beyondNewest: Self.maxEndedTasks)
    }

    private func remove(before limit: Int64, beyondNewest count: Int) throws {
        while true {
            let old = try database.read {
                try $0.endedTasks(before: limit, beyondNewest: count, limit: Self.removalBatch)
            }
            guard !old.isEmpty else { return }
            // The log goes first: what is left where this stops in between is an entry that the next time finds again.
            for record in old {
                guard let upid = try? UPID(parsing: record.upid) else { continue }
                do { try logs.remove(upid) } catch {
                    log.warning("the log of an old task stays", metadata: ["reason": "\(error)"])
                }
            }
            try database.write { state in
                for record in old { try state.removeTask(record.upid) }
            }
            for record in old {
                guard let upid = try? UPID(parsing: record.upid) else { continue }
                tell(TaskInfo(upid: upid, endTime: record.endTime, status: record.status), .removed)
            }
        }
    }
}

extension TaskLogStore {
    /// Whether a line, with its line end, is how a task ended.
    fileprivate static func isLastLine(_ line: ArraySlice<UInt8>) -> Bool {
        let text = Array(": TASK ".utf8)
        return line.count > 25 + text.count && Array(line.dropFirst(25).prefix(text.count)) == text
    }
}
