package import BackupFormats
package import Logging
package import StateDatabase
import Synchronization
package import Tasks

/// The jobs of this server: when each is due, how it did, and that it runs once at a time. All calls block, save where
/// they are asynchronous.
///
/// A job is due when the first event of its schedule after the start of its last run has come. So what was missed while
/// the server was down is made up for by one run, and a run that takes longer than the schedule allows is followed by one.
/// (Spec: rest H.1.)
package final class JobService: Sendable {
    /// A last run may be so far in the future before the clock counts as set back and the schedule as begun anew.
    package static let clockTolerance: Int64 = 3600
    /// What a job may be late before it is overdue.
    package static let patience: Int64 = 3600

    let database: StateDatabase
    let stores: DatastoreRegistry
    let tasks: TaskRegistry
    let work: JobWork
    let time: TimeSource
    let localOffset: @Sendable (Int64) -> Int
    let log: Logger

    private struct State {
        var running: Set<JobID> = []
        /// Jobs whose schedule was found unreadable, so that it is logged once.
        var unreadable: [JobID: String] = [:]
    }
    private let state = Mutex(State())

    /// - Parameter localOffset: Seconds that the server's local time is ahead of UTC at a time.
    package init(
        database: StateDatabase, stores: DatastoreRegistry, tasks: TaskRegistry, work: JobWork, time: TimeSource,
        localOffset: @escaping @Sendable (Int64) -> Int, log: Logger
    ) {
        self.database = database
        self.stores = stores
        self.tasks = tasks
        self.work = work
        self.time = time
        self.localOffset = localOffset
        self.log = log
    }

    // MARK: Which jobs there are

    /// All jobs: those of the datastores, then those with a configuration of their own.
    package func jobs() throws -> [Job] {
        let ofStores = stores.records.flatMap { record in
            Self.storeJobs.compactMap { kind, setting -> Job? in
                guard record.properties[setting] != nil else { return nil }
                return Self.storeJob(kind(record.name), of: record, setting)
            }
        }
        return try ofStores + JobSection.allCases.flatMap { try jobs(in: $0) }
    }

    package func jobs(in section: JobSection) throws -> [Job] {
        try database.read { try $0.entries(section.config) }.map {
            Job(id: .configured(section, $0.id), properties: $0.properties)
        }
    }

    private static let storeJobs: [(kind: @Sendable (String) -> JobID, setting: String)] = [
        ({ .garbageCollection($0) }, "gc-schedule"), ({ .storePrune($0) }, "prune-schedule"),
    ]

    private static func storeJob(_ id: JobID, of record: DatastoreRecord, _ setting: String) -> Job {
        var properties: JSONObject = ["store": .string(record.name)]
        properties["schedule"] = record.properties[setting]
        for member in record.properties.members where member.name.hasPrefix("keep-") {
            properties[member.name] = member.value
        }
        return Job(id: id, properties: properties)
    }

    /// - Throws: ``BackupFailure`` of kind `notFound` where there is no such job, `noSuchObject` for one of a datastore
    ///   that does not exist.
    package func job(_ id: JobID) throws -> Job {
        switch id {
        case .garbageCollection(let store):
            return Self.storeJob(id, of: try stores.record(store), "gc-schedule")
        case .storePrune(let store):
            return Self.storeJob(id, of: try stores.record(store), "prune-schedule")
        case .configured(let section, let name):
            guard let entry = try database.read({ try $0.entry(section.config, name) }) else {
                throw Self.missing(section, name)
            }
            return Job(id: id, properties: entry.properties)
        }
    }

    static func missing(_ section: JobSection, _ name: String) -> BackupFailure {
        BackupFailure(.notFound, "no such \(section.config.name) '\(name)'")
    }

    // MARK: How they do

    /// How a job does; one that never ran has no last run.
    package func status(of id: JobID) throws -> JobStatus { try status(of: try job(id)) }

    package func status(of job: Job) throws -> JobStatus {
        let now = time.seconds
        let record = try counted(job, try database.read { try $0.jobState(job.id.text) }, now)
        var status = JobStatus()
        status.isRunning = state.withLock { $0.running.contains(job.id) }
        status.nextRun = next(of: job, after: record.countedFrom)
        status.lastRunUPID = record.task
        status.lastRunState = record.status
        status.lastRunEndTime = record.endTime
        if !status.isRunning, let due = next(of: job, after: record.goodSince), due + Self.patience < now {
            status.overdueSince = due
        }
        return status
    }

    /// The record as it is to be counted with now: what ended meanwhile is in it, a changed schedule begins now, and so
    /// does one whose last run lies in the future because the clock was set back.
    private func counted(_ job: Job, _ stored: JobStateRecord?, _ now: Int64) throws -> JobStateRecord {
        let schedule = job.isEnabled ? job.schedule ?? "" : ""
        var record =
            stored ?? JobStateRecord(job: job.id.text, schedule: schedule, countedFrom: now, goodSince: now)
        if record.schedule != schedule {
            record.schedule = schedule
            (record.countedFrom, record.goodSince) = (now, now)
        }
        if record.countedFrom > now + Self.clockTolerance { record.countedFrom = now }
        if record.goodSince > now + Self.clockTolerance { record.goodSince = now }
        // A server that died could not write down how the run ended; the list of tasks knows.
        if record.endTime == nil, let task = record.task, let upid = try? UPID(parsing: task),
            tasks.running(upid) == nil, !state.withLock({ $0.running.contains(job.id) })
        {
            let info = try tasks.info(upid)
            record.endTime = info?.endTime ?? upid.startTime
            record.status = info?.status ?? TaskStatus.unknown
            if Self.isGood(record.status) { record.goodSince = upid.startTime }
        }
        return record
    }

    private static func isGood(_ status: String?) -> Bool {
        guard let status else { return false }
        return [.ok, .warning].contains(TaskStatus.classify(status))
    }

    private func next(of job: Job, after time: Int64) -> Int64? {
        guard job.isEnabled, let schedule = job.schedule else { return nil }
        do {
            return try CalendarEvent(parsing: schedule).next(after: time, offset: localOffset)
        } catch {
            let isNew = state.withLock { $0.unreadable.updateValue(schedule, forKey: job.id) != schedule }
            if isNew {
                log.error(
                    "a schedule cannot be read, the job never runs by itself",
                    metadata: ["job": "\(job.id.label)", "schedule": "\(schedule)", "reason": "\(error)"])
            }
            return nil
        }
    }

    // MARK: Running

    /// Takes notice of new and changed schedules, and starts what is due. Called once a minute and after changes of the
    /// configuration.
    ///
    /// - Parameter isStarting: False to take notice only.
    /// - Returns: The tasks that were started.
    @discardableResult
    package func runDue(isStarting: Bool = true) throws -> [UPID] {
        let now = time.seconds
        let all = try jobs()
        let stored = Dictionary(
            try database.read { try $0.jobStates() }.map { ($0.job, $0) }, uniquingKeysWith: { first, _ in first })
        var changed: [JobStateRecord] = []
        var due: [JobID] = []
        for job in all {
            let record = try counted(job, stored[job.id.text], now)
            if record != stored[job.id.text] { changed.append(record) }
            if let next = next(of: job, after: record.countedFrom), next <= now { due.append(job.id) }
        }
        let gone = Set(stored.keys).subtracting(all.map(\.id.text)).compactMap { stored[$0] }
        let storeNames = Set(stores.records.map(\.name))
        if !changed.isEmpty || !gone.isEmpty {
            try database.write { [changed] state in
                for record in changed where try state.jobState(record.job) == stored[record.job] {
                    try state.put(record)
                }
                for record in gone where try state.jobState(record.job) == record {
                    try Self.retire(record, storeNames, state)
                }
            }
        }
        guard isStarting else { return [] }
        return due.compactMap { id in
            guard !state.withLock({ $0.running.contains(id) }) else { return nil }
            do { return try start(id, by: .root) } catch {
                log.error("a job was not started", metadata: ["job": "\(id.label)", "reason": "\(error)"])
                return nil
            }
        }
    }

    /// A datastore's job that is no longer due by itself keeps its last run; what belongs to nothing any more goes.
    private static func retire(_ record: JobStateRecord, _ stores: Set<String>, _ state: StateWriter) throws {
        let parts = record.job.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, ["gc", "store-prune"].contains(parts[0]), stores.contains(parts[1]) else {
            return try state.removeJobState(record.job)
        }
        guard !record.schedule.isEmpty else { return }
        var record = record
        record.schedule = ""
        try state.put(record)
    }

    /// Starts a job now, in the background.
    ///
    /// - Parameter owner: Whose task it is; who calls has checked that it may.
    /// - Throws: ``BackupFailure``: `notFound` and `noSuchObject` as ``job(_:)``, `conflict` while it runs.
    package func start(_ id: JobID, by owner: AuthID) throws -> UPID {
        let job = try job(id)
        guard state.withLock({ $0.running.insert(id).inserted }) else {
            throw BackupFailure(.conflict, "\(id.label) is running already")
        }
        let worker = job.worker
        let task = tasks.start(worker.type, id: worker.id, owner: owner)
        do {
            // Written down before it begins: whatever happens then, the same event starts no second run.
            let now = time.seconds
            var record = try counted(job, try database.read { try $0.jobState(id.text) }, now)
            record.countedFrom = now
            (record.task, record.endTime, record.status) = (task.upid.description, nil, nil)
            try database.write { [record] in try $0.put(record) }
        } catch {
            task.withdraw()
            state.withLock { _ = $0.running.remove(id) }
            throw error
        }
        let body = work.body(of: id)
        let run = Task {
            if job.schedule != nil { task.log("\(id.label), schedule \(job.schedule ?? "")") }
            do {
                try await body(job, task)
                task.finish()
            } catch {
                task.finish(.error("\(error)"))
            }
            await task.waitUntilStopped()
            await noteEnd(of: id, task)
        }
        task.onAbort { run.cancel() }
        return task.upid
    }

    private func noteEnd(of id: JobID, _ task: RunningTask) async {
        let (upid, status, now) = (task.upid, task.status, time.seconds)
        do {
            try await database.write { state in
                guard var record = try state.jobState(id.text), record.task == upid.description else { return }
                (record.endTime, record.status) = (now, status ?? TaskStatus.unknown)
                if Self.isGood(status) { record.goodSince = upid.startTime }
                try state.put(record)
            }
        } catch {
            // The next look at the job finds it in the list of tasks.
            log.warning("the end of a job was not noted", metadata: ["job": "\(id.label)", "reason": "\(error)"])
        }
        state.withLock { _ = $0.running.remove(id) }
    }
}
