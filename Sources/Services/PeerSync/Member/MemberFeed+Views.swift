import BackupFormats
import BackupServer
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Tasks

// What hubs are told of the set-up. (Spec: backrest-sync §5.5, §9.1.)
extension MemberFeed {
    /// Of the form in which settings are told.
    private static let configVersion: Int32 = 6
    private static let pruneRules = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]

    func resources(for scope: MemberScope) -> (repos: [WireRepoMetadata], plans: [WirePlanMetadata]) {
        var plans: [WirePlanMetadata] = []
        for store in view {
            for namespace in store.namespaces {
                var plan = WirePlanMetadata()
                plan.id = StoreView.plan(store.name, namespace)
                if scope.mayViewResource(.plan(plan.id)) { plans.append(plan) }
            }
        }
        return (view.filter { scope.mayViewResource(.repo($0.name)) }.map(\.repo), plans)
    }

    /// What is set up, as far as the hub may see it; empty where it may see nothing. It holds nothing that opens, reaches
    /// or runs anything. Blocks.
    func configView(for scope: MemberScope) throws -> WireRemoteConfig {
        var config = WireRemoteConfig()
        config.version = Self.configVersion
        let jobs = try Jobs(database)
        for store in view {
            let record = try? stores.record(store.name)
            if scope.mayViewConfig(.repo(store.name)) { config.repos.append(repo(store, record, jobs)) }
            for namespace in store.namespaces
            where scope.mayViewConfig(.plan(StoreView.plan(store.name, namespace))) {
                config.plans.append(plan(store, namespace, record, jobs))
            }
        }
        // A number that is another one after each change; what it is says nothing.
        var hash: UInt32 = 0x811c_9dc5
        for byte in try config.serializedBytes() as [UInt8] { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        config.modno = Int32(hash & 0x7fff_ffff)
        return config
    }

    private func repo(_ store: StoreView, _ record: DatastoreRecord?, _ jobs: Jobs) -> WireRepo {
        var repo = WireRepo()
        repo.id = store.name
        repo.guid = store.guid
        repo.uri = "pbs:\(directory.instanceID):\(store.name)"
        if let schedule = record?.properties["gc-schedule"]?.stringValue {
            repo.prunePolicy.schedule = Self.schedule(schedule)
        }
        if let job = jobs.first(of: .verifyJob, store.name, .root), let schedule = job["schedule"]?.stringValue {
            repo.checkPolicy.schedule = Self.schedule(schedule)
        }
        return repo
    }

    private func plan(
        _ store: StoreView, _ namespace: Namespace, _ record: DatastoreRecord?, _ jobs: Jobs
    ) -> WirePlan {
        var plan = WirePlan()
        plan.id = StoreView.plan(store.name, namespace)
        plan.repo = store.name
        plan.paths = ["/\(namespace)"]
        // Only synchronisations are begun here; backups come when their clients send them.
        let sync = jobs.first(of: .syncJob, store.name, namespace)?["schedule"]?.stringValue
        plan.schedule = Self.schedule(sync)
        let rules = jobs.first(of: .pruneJob, store.name, namespace) ?? record?.properties ?? [:]
        let buckets = OperationMaker.buckets { Int32(clamping: rules["keep-\($0)"]?.intValue ?? 0) }
        if Self.pruneRules.contains(where: { rules["keep-\($0)"] != nil }) {
            plan.retention.policyTimeBucketed = buckets
        } else {
            plan.retention.policyKeepAll = true
        }
        return plan
    }

    private static func schedule(_ text: String?) -> WireSchedule {
        var schedule = WireSchedule()
        guard let text, let event = try? CalendarEvent(parsing: text), let cron = event.cron else {
            schedule.disabled = true
            return schedule
        }
        schedule.cron = cron
        schedule.clock = event.isInUTC ? .utc : .local
        return schedule
    }

    /// Stands for the settings that views are made from. Blocks.
    func settingsDigest() throws -> String {
        try database.read { state in
            try Jobs.sections.map { try state.digest(of: $0) }.joined() + state.digest(of: .datastore)
        }
    }
}

/// The jobs as they are configured.
private struct Jobs {
    static let sections: [ConfigSection] = [.pruneJob, .verifyJob, .syncJob]
    private let entries: [String: [JSONObject]]

    init(_ database: StateDatabase) throws {
        entries = try database.read { state in
            var found: [String: [JSONObject]] = [:]
            for section in Self.sections { found[section.name] = try state.entries(section).map(\.properties) }
            return found
        }
    }

    /// The first that is not switched off and is for this very namespace.
    func first(of section: ConfigSection, _ store: String, _ namespace: Namespace) -> JSONObject? {
        entries[section.name]?.first { job in
            job["store"]?.stringValue == store && (job["ns"]?.stringValue ?? "") == "\(namespace)"
                && job["disable"]?.boolValue != true
        }
    }
}
