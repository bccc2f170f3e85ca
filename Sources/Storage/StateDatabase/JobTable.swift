import GRDB

/// What is remembered about a job between its runs.
package struct JobStateRecord: Hashable, Sendable {
    /// Kind and name: `prune:daily`.
    package var job: String
    /// The schedule that ``countedFrom`` belongs to; empty where the job is never due by itself.
    package var schedule: String
    /// The next run is the first event of the schedule after this time, Unix seconds: the start of the last run, or when
    /// the schedule was made.
    package var countedFrom: Int64
    /// Start of the last run that ended well, or when the schedule was made.
    package var goodSince: Int64
    /// The task of the last run; nil before the first.
    package var task: String?
    /// Nil while that runs.
    package var endTime: Int64?
    package var status: String?

    package init(
        job: String, schedule: String, countedFrom: Int64, goodSince: Int64, task: String? = nil,
        endTime: Int64? = nil, status: String? = nil
    ) {
        self.job = job
        self.schedule = schedule
        self.countedFrom = countedFrom
        self.goodSince = goodSince
        self.task = task
        self.endTime = endTime
        self.status = status
    }
}

extension StateReader {
    package func jobState(_ job: String) throws -> JobStateRecord? {
        try Row.fetchOne(database, sql: "SELECT * FROM job_states WHERE job = ?", arguments: [job]).map(
            JobStateRecord.init)
    }

    package func jobStates() throws -> [JobStateRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM job_states ORDER BY job").map(JobStateRecord.init)
    }
}

extension StateWriter {
    /// Adds the state, or replaces all of it.
    package func put(_ state: JobStateRecord) throws {
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO job_states (job, schedule, counted_from, good_since, task, end_time, status)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                state.job, state.schedule, state.countedFrom, state.goodSince, state.task, state.endTime, state.status,
            ])
    }

    package func removeJobState(_ job: String) throws {
        try database.execute(sql: "DELETE FROM job_states WHERE job = ?", arguments: [job])
    }
}

extension JobStateRecord {
    fileprivate init(_ row: Row) {
        self.init(
            job: row["job"], schedule: row["schedule"], countedFrom: row["counted_from"], goodSince: row["good_since"],
            task: row["task"], endTime: row["end_time"], status: row["status"])
    }
}
