import BackupFormats
import GRDB

/// What is asked of the list of tasks in the database. All conditions must hold.
package struct TaskQuery: Sendable {
    /// Part of the owner's id.
    package var ownerPart: String?
    /// Part of the worker type.
    package var typePart: String?
    /// Earliest and latest start.
    package var since: Int64?
    package var until: Int64?

    package init(ownerPart: String? = nil, typePart: String? = nil, since: Int64? = nil, until: Int64? = nil) {
        self.ownerPart = ownerPart
        self.typePart = typePart
        self.since = since
        self.until = until
    }
}

extension StateReader {
    package func task(_ upid: String) throws -> TaskRecord? {
        try Row.fetchOne(database, sql: "SELECT * FROM tasks WHERE upid = ?", arguments: [upid]).map(TaskRecord.init)
    }

    /// Gives the tasks that have ended to `body`, newest first, until it answers false.
    package func eachEndedTask(_ query: TaskQuery, _ body: (TaskRecord) throws -> Bool) throws {
        var conditions = ["end_time IS NOT NULL"]
        var arguments: [any DatabaseValueConvertible] = []
        if let part = query.ownerPart {
            conditions.append("instr(owner, ?) > 0")
            arguments.append(part)
        }
        if let part = query.typePart {
            conditions.append("instr(worker_type, ?) > 0")
            arguments.append(part)
        }
        if let since = query.since {
            conditions.append("start_time >= ?")
            arguments.append(since)
        }
        if let until = query.until {
            conditions.append("start_time <= ?")
            arguments.append(until)
        }
        let rows = try Row.fetchCursor(
            database,
            sql: """
                SELECT * FROM tasks WHERE \(conditions.joined(separator: " AND "))
                ORDER BY start_time DESC, number DESC
                """,
            arguments: StatementArguments(arguments))
        while let row = try rows.next() {
            guard try body(TaskRecord(row)) else { return }
        }
    }

    /// Tasks without an end: those that run, or ran when the server died.
    package func unfinishedTasks() throws -> [TaskRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM tasks WHERE end_time IS NULL ORDER BY number").map(
            TaskRecord.init)
    }

    /// The oldest ended tasks that started before `time` and are not among the newest `count`, oldest first.
    package func endedTasks(before time: Int64, beyondNewest count: Int, limit: Int) throws -> [TaskRecord] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT * FROM (
                    SELECT * FROM tasks WHERE end_time IS NOT NULL
                    ORDER BY start_time DESC, number DESC LIMIT -1 OFFSET ?
                ) WHERE start_time < ? ORDER BY start_time, number LIMIT ?
                """, arguments: [count, time, limit]
        ).map(TaskRecord.init)
    }
}

extension StateWriter {
    /// Adds the task, or replaces what is known of it.
    package func put(_ task: TaskRecord) throws {
        try database.execute(
            sql: """
                INSERT INTO tasks (upid, start_time, worker_type, worker_id, owner, end_time, status)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (upid) DO UPDATE SET end_time = excluded.end_time, status = excluded.status
                """,
            arguments: [
                task.upid, task.startTime, task.workerType, task.workerID, task.owner, task.endTime, task.status,
            ])
    }

    package func removeTask(_ upid: String) throws {
        try database.execute(sql: "DELETE FROM tasks WHERE upid = ?", arguments: [upid])
    }
}

extension TaskRecord {
    fileprivate init(_ row: Row) {
        self.init(
            upid: row["upid"], startTime: row["start_time"], workerType: row["worker_type"], workerID: row["worker_id"],
            owner: row["owner"], endTime: row["end_time"], status: row["status"])
    }
}
