package import BackupFormats
import StateDatabase

/// What a list of tasks shall hold. All conditions must be met. (Spec: rest E.8.)
package struct TaskFilter: Sendable {
    /// Entries to pass over.
    package var start: Int
    /// Entries to give; 0 means all.
    package var limit: Int
    /// A datastore that the task works on.
    package var store: String?
    package var isRunningOnly: Bool
    /// Whether only tasks are listed that have ended otherwise than `OK`.
    package var isErrorsOnly: Bool
    /// Part of the owner's id, part of the worker type.
    package var userPart: String?
    package var typePart: String?
    /// Earliest and latest start, Unix seconds.
    package var since: Int64?
    package var until: Int64?
    /// How the tasks have ended; nil where it does not matter.
    package var statuses: Set<TaskStatusClass>?

    package init(
        start: Int = 0, limit: Int = 50, store: String? = nil, isRunningOnly: Bool = false, isErrorsOnly: Bool = false,
        userPart: String? = nil, typePart: String? = nil, since: Int64? = nil, until: Int64? = nil,
        statuses: Set<TaskStatusClass>? = nil
    ) {
        self.start = start
        self.limit = limit
        self.store = store
        self.isRunningOnly = isRunningOnly
        self.isErrorsOnly = isErrorsOnly
        self.userPart = userPart
        self.typePart = typePart
        self.since = since
        self.until = until
        self.statuses = statuses
    }

    func accepts(_ task: TaskInfo) -> Bool {
        if let store, !(task.upid.workerID ?? "").split(separator: ":").contains(Substring(store)) { return false }
        if isRunningOnly, !task.isRunning { return false }
        if let userPart, !task.owner.description.contains(userPart) { return false }
        if let typePart, !task.upid.workerType.contains(typePart) { return false }
        if let since, task.upid.startTime < since { return false }
        if let until, task.upid.startTime > until { return false }
        guard isErrorsOnly || statuses != nil else { return true }
        guard let status = task.status else { return false }
        let kind = TaskStatus.classify(status)
        return !(isErrorsOnly && kind == .ok) && statuses?.contains(kind) ?? true
    }
}

/// A piece of the list, newest first.
package struct TaskPage: Sendable {
    package let tasks: [TaskInfo]
    /// The number of entries up to the end of this piece, and one more where others may follow.
    package let total: Int
}

/// A piece of a log.
package struct TaskLogPage: Sendable {
    package struct Line: Hashable, Sendable {
        /// Counted from 1.
        package let number: Int
        package let text: String
    }

    package let lines: [Line]
    /// Lines in the log now.
    package let total: Int
    /// Whether more lines may come.
    package let isActive: Bool
}

extension TaskRegistry {
    /// The tasks that meet the filter and that the caller may see, newest first. Blocks.
    package func list(_ filter: TaskFilter, isVisible: @escaping (TaskInfo) -> Bool) throws -> TaskPage {
        var collector = Collector(filter: filter, isVisible: isVisible)
        // Memory first, then the database: a task that ends in between is in both, and counts as running.
        var running = runningTasks.map(\.info).sorted { Self.isNewer($0.upid, $1.upid) }[...]
        let isKnown = Set(running.map(\.upid))
        if !filter.isRunningOnly {
            let query = TaskQuery(
                ownerPart: filter.userPart, typePart: filter.typePart, since: filter.since, until: filter.until)
            try database.read { state in
                try state.eachEndedTask(query) { record in
                    guard let upid = try? UPID(parsing: record.upid), !isKnown.contains(upid) else { return true }
                    while let next = running.first, Self.isNewer(next.upid, upid) {
                        guard collector.add(next) else { return false }
                        running.removeFirst()
                    }
                    return collector.add(TaskInfo(upid: upid, endTime: record.endTime, status: record.status))
                }
            }
        }
        for task in running { guard collector.add(task) else { break } }
        return collector.page
    }

    private static func isNewer(_ left: UPID, _ right: UPID) -> Bool {
        (left.startTime, left.taskID) > (right.startTime, right.taskID)
    }

    /// What is known of a task; nil where nothing is.
    package func info(_ upid: UPID) throws -> TaskInfo? {
        if let task = running(upid) { return task.info }
        return try database.read { try $0.task(upid.description) }.flatMap { record in
            // A task without an end that does not run was cut off a moment ago by a failing database.
            TaskInfo(upid: upid, endTime: record.endTime ?? upid.startTime, status: record.status ?? TaskStatus.unknown)
        }
    }

    /// Lines of a log. Blocks.
    ///
    /// - Parameters:
    ///   - start: The first line, counted from 1; 0 means the same.
    ///   - limit: Lines to give; 0 means all.
    /// - Returns: Nil where the task is unknown.
    package func log(_ upid: UPID, start: Int, limit: Int) throws -> TaskLogPage? {
        guard try isKnown(upid) else { return nil }
        // Asked before reading: who sees "no longer active" has all lines.
        let isActive = running(upid) != nil
        let first = max(1, start)
        let (last, isHuge) = first.addingReportingOverflow(limit - 1)
        var lines: [TaskLogPage.Line] = []
        let total = try logs.eachLine(upid) { number, text in
            guard number >= first, limit == 0 || isHuge || number <= last else { return }
            lines.append(.init(number: number, text: String(decoding: text, as: UTF8.self)))
        }
        guard let total else { return isActive ? TaskLogPage(lines: [], total: 0, isActive: true) : nil }
        return TaskLogPage(lines: lines, total: total, isActive: isActive)
    }

    /// The whole log as it stands on the disk; nil where there is none. Blocks.
    package func wholeLog(_ upid: UPID) throws -> [UInt8]? { try isKnown(upid) ? try logs.read(upid) : nil }

    /// Bytes of a log from `offset` on, at most `limit`, and whether more may come; nil where the task is unknown. Blocks.
    package func logPiece(_ upid: UPID, from offset: Int, limit: Int) throws -> (bytes: [UInt8], isActive: Bool)? {
        guard try isKnown(upid) else { return nil }
        // Asked before reading: who sees "no longer active" has all bytes once a piece is empty.
        let isActive = running(upid) != nil
        guard let bytes = try logs.read(upid, from: offset, limit: limit) else {
            return isActive ? ([], true) : nil
        }
        return (bytes, isActive)
    }

    /// Bytes of a log as it stands on the disk; nil where there is none. Blocks.
    package func logByteCount(_ upid: UPID) throws -> Int? { try isKnown(upid) ? try logs.byteCount(upid) : nil }

    /// Whether there is a task of exactly this id. File names may be cut, so that the file alone does not tell: callers
    /// decide by the id whose the task is.
    private func isKnown(_ upid: UPID) throws -> Bool {
        if running(upid) != nil { return true }
        return try database.read { try $0.task(upid.description) } != nil
    }
}

/// Passes over the first entries, keeps the next, and sees whether there are more.
private struct Collector {
    let filter: TaskFilter
    let isVisible: (TaskInfo) -> Bool
    var passed = 0
    var tasks: [TaskInfo] = []
    var hasMore = false

    /// - Returns: Whether another one is wanted.
    mutating func add(_ task: TaskInfo) -> Bool {
        guard filter.accepts(task), isVisible(task) else { return true }
        if passed < filter.start {
            passed += 1
            return true
        }
        if filter.limit > 0, tasks.count >= filter.limit {
            hasMore = true
            return false
        }
        tasks.append(task)
        return true
    }

    var page: TaskPage { TaskPage(tasks: tasks, total: passed + tasks.count + (hasMore ? 1 : 0)) }
}
