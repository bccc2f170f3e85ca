package import BackupFormats
package import StateDatabase
package import Tasks

/// The jobs that have a configuration of their own, each kind in its section. (Spec: rest E.5.)
package enum JobSection: String, CaseIterable, Sendable {
    case prune, verify, sync

    package var config: ConfigSection {
        switch self {
        case .prune: .pruneJob
        case .verify: .verifyJob
        case .sync: .syncJob
        }
    }
}

/// Which job: its kind, and its name or the datastore it belongs to.
package enum JobID: Hashable, Sendable {
    /// The setting `gc-schedule` of a datastore.
    case garbageCollection(String)
    /// The settings `prune-schedule` and `keep-…` of a datastore.
    case storePrune(String)
    case configured(JobSection, String)

    /// As the database names it: `prune:daily`.
    package var text: String {
        switch self {
        case .garbageCollection(let store): "gc:\(store)"
        case .storePrune(let store): "store-prune:\(store)"
        case .configured(let section, let name): "\(section.rawValue):\(name)"
        }
    }

    /// For people: `prune job 'daily'`.
    package var label: String {
        switch self {
        case .garbageCollection(let store): "garbage collection of datastore '\(store)'"
        case .storePrune(let store): "prune of datastore '\(store)'"
        case .configured(let section, let name): "\(section.rawValue) job '\(name)'"
        }
    }
}

/// A job as configured.
package struct Job: Sendable {
    package let id: JobID
    /// By their names in the API, `store` and `schedule` included, the id not.
    package let properties: JSONObject

    package init(id: JobID, properties: JSONObject) {
        self.id = id
        self.properties = properties
    }

    /// The datastore of this server that it works on.
    package var store: String { text("store") ?? "" }
    package var namespace: Namespace { (try? Namespace(parsing: text("ns") ?? "")) ?? .root }
    /// Nil where it only runs when somebody starts it.
    package var schedule: String? { text("schedule") }
    package var isEnabled: Bool { !(properties["disable"]?.boolValue ?? false) }

    func text(_ name: String) -> String? { properties[name]?.stringValue }
    func number(_ name: String) -> Int64? { properties[name]?.intValue }

    /// Worker type and id of its tasks. (Spec: rest E.5, E.8.)
    package var worker: (type: String, id: String) {
        switch id {
        case .garbageCollection(let store): ("garbage_collection", store)
        case .storePrune(let store): ("prunejob", store)
        case .configured(.prune, let name): ("prunejob", "\(store):\(name)")
        case .configured(.verify, let name): ("verificationjob", "\(store):\(name)")
        case .configured(.sync, let name):
            ("syncjob", "\(text("remote") ?? "-"):\(text("remote-store") ?? ""):\(store):\(namespace):\(name)")
        }
    }
}

/// How a job does. (Spec: rest E.5, the common status fields.)
package struct JobStatus: Hashable, Sendable {
    /// When it is due next, Unix seconds; nil where it never is by itself.
    package var nextRun: Int64?
    package var lastRunUPID: String?
    /// Exit status of the last run, and when that ended; nil while it runs.
    package var lastRunState: String?
    package var lastRunEndTime: Int64?
    package var isRunning = false
    /// Since when it should have run well again, with some patience; nil where all is in order.
    package var overdueSince: Int64?

    package init() {}

    /// Seconds that the last run took.
    package var duration: Int64? {
        guard let end = lastRunEndTime, let task = lastRunUPID.flatMap({ try? UPID(parsing: $0) }) else { return nil }
        return max(0, end - task.startTime)
    }

    /// The fields that listings show.
    package var members: JSONObject {
        var object: JSONObject = [:]
        object["next-run"] = nextRun.map { .integer($0) }
        object["last-run-state"] = lastRunState.map { .string($0) }
        object["last-run-upid"] = lastRunUPID.map { .string($0) }
        object["last-run-endtime"] = lastRunEndTime.map { .integer($0) }
        return object
    }
}

/// What jobs do, inside a task that was opened for them; put together by the program. Nothing here checks rights.
package struct JobWork: Sendable {
    package typealias Body = @Sendable (Job, RunningTask) async throws -> Void

    package var collect: Body
    package var prune: Body
    package var verify: Body
    package var sync: Body
    /// Refuses properties of a sync job that cannot be carried out.
    package var checkSync: @Sendable (JSONObject) throws -> Void

    package init(
        collect: @escaping Body, prune: @escaping Body, verify: @escaping Body, sync: @escaping Body,
        checkSync: @escaping @Sendable (JSONObject) throws -> Void = { _ in }
    ) {
        self.collect = collect
        self.prune = prune
        self.verify = verify
        self.sync = sync
        self.checkSync = checkSync
    }

    func body(of id: JobID) -> Body {
        switch id {
        case .garbageCollection: collect
        case .storePrune, .configured(.prune, _): prune
        case .configured(.verify, _): verify
        case .configured(.sync, _): sync
        }
    }
}
