package import AccessControl
package import BackupFormats
import Datastore
package import Logging
import StateDatabase
import Synchronization
import Tasks

/// Something that should have happened and has not.
package struct OverdueAlert: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        case job(JobID)
        case group(BackupGroup)
    }

    package let subject: Subject
    package let store: String
    package let namespace: Namespace
    /// When it should have happened.
    package let since: Int64
    package let text: String
}

/// When a group should have been backed up again.
package enum GroupRhythm {
    /// Backups that are looked at, and the least that make a rhythm.
    package static let maxBackups = 11
    static let minBackups = 3
    /// So many times the usual distance may pass, and this much more.
    static let factor: Int64 = 2
    static let patience: Int64 = 3600

    /// What the setting `overdue-after` of a datastore says.
    package enum Setting: Hashable, Sendable {
        /// The group's own rhythm: the median of the distances between its last backups.
        case ownRhythm
        case seconds(Int64)
        case never

        /// - Throws: ``BackupFailure`` of kind `invalidInput`.
        package init(_ text: String?) throws {
            switch text {
            case nil: self = .ownRhythm
            case "never": self = .never
            case let text?:
                do {
                    let seconds = try TimeSpan.seconds(parsing: text)
                    guard (60...1e10).contains(seconds) else {
                        throw FormatError.invalid("a minute is the shortest time", offset: 0)
                    }
                    self = .seconds(Int64(seconds))
                } catch {
                    throw BackupFailure(
                        .invalidInput, "'\(text)' is neither 'never' nor a length of time such as '2d'", cause: error)
                }
            }
        }
    }

    /// The time by which the next backup was due, where that is past; nil where all is in order or there is no rhythm.
    ///
    /// - Parameter times: Of the last backups, newest first.
    package static func overdueSince(_ times: [Int64], setting: Setting, now: Int64) -> Int64? {
        guard let last = times.first else { return nil }
        let limit: Int64
        switch setting {
        case .never: return nil
        case .seconds(let seconds): limit = seconds
        case .ownRhythm:
            guard times.count >= minBackups else { return nil }
            let distances = zip(times, times.dropFirst()).map { $0 - $1 }.sorted()
            limit = distances[distances.count / 2] * factor + patience
        }
        return last + limit < now ? last + limit : nil
    }
}

/// Knows what is overdue: jobs that did not run or not well, and groups that are not backed up any more.
package final class OverdueAlerts: Sendable {
    /// Groups that are remembered as overdue at once.
    private static let maxGroups = 10_000

    private let jobs: JobService
    private let log: Logger

    /// What a look at the groups of a datastore found.
    package struct GroupCounts: Hashable, Sendable {
        package var groups = 0
        package var snapshots = 0
        package var overdue = 0
        /// Time of the newest finished snapshot.
        package var newest: Int64?
    }

    private struct State {
        var groups: [OverdueAlert] = []
        var counts: [String: GroupCounts] = [:]
        /// What was logged and is not over yet.
        var logged: Set<OverdueAlert> = []
    }
    private let state = Mutex(State())

    package init(jobs: JobService, log: Logger) {
        self.jobs = jobs
        self.log = log
    }

    /// All alerts; those of groups are as old as the last ``refresh()``. Blocks for the database only.
    package func current() throws -> [OverdueAlert] {
        try ofJobs() + state.withLock { $0.groups }
    }

    /// By datastore, as old as the last ``refresh()``; those that could not be read are missing.
    package var groupCounts: [String: GroupCounts] { state.withLock { $0.counts } }

    /// Looks at all groups, and logs what has become overdue, once. Blocks.
    package func refresh() throws {
        let now = jobs.time.seconds
        var counts: [String: GroupCounts] = [:]
        var groups: [OverdueAlert] = []
        for record in jobs.stores.records {
            guard let found = look(at: record, now) else { continue }
            counts[record.name] = found.counts
            groups += found.alerts.prefix(Self.maxGroups - groups.count)
        }
        state.withLock { [groups, counts] state in
            state.groups = groups
            state.counts = counts
        }
        let all = Set(try current())
        let new = state.withLock { state in
            defer { state.logged = all }
            return all.subtracting(state.logged)
        }
        for alert in new.sorted(by: { $0.text < $1.text }) {
            log.warning("overdue", metadata: ["what": "\(alert.text)", "since": "\(BackupTime.text(alert.since))"])
        }
    }

    private func ofJobs() throws -> [OverdueAlert] {
        try jobs.jobs().compactMap { job in
            guard let since = try jobs.status(of: job).overdueSince else { return nil }
            return OverdueAlert(
                subject: .job(job.id), store: job.store, namespace: job.namespace, since: since,
                text: "\(job.id.label) should have run and ended well")
        }
    }

    /// Nil where the datastore cannot be read.
    private func look(at record: DatastoreRecord, _ now: Int64) -> (counts: GroupCounts, alerts: [OverdueAlert])? {
        do {
            let setting = try GroupRhythm.Setting(record.overdueAfter)
            let store = try jobs.stores.datastore(record.name, for: .read)
            var counts = GroupCounts()
            var alerts: [OverdueAlert] = []
            for namespace in try store.namespaces(below: .root) {
                let running = Set(
                    store.sessions.running(below: namespace).filter { $0.namespace == namespace }.map(\.snapshot.group))
                for times in try store.groupTimes(in: namespace, limit: GroupRhythm.maxBackups) {
                    counts.groups += 1
                    counts.snapshots += times.snapshotCount
                    counts.newest = max(counts.newest ?? .min, times.newest.first ?? .min)
                    guard let since = GroupRhythm.overdueSince(times.newest, setting: setting, now: now),
                        !running.contains(times.group)
                    else { continue }
                    counts.overdue += 1
                    guard alerts.count < Self.maxGroups else { continue }
                    let place = namespace.isRoot ? record.name : "\(record.name):\(namespace)"
                    alerts.append(
                        OverdueAlert(
                            subject: .group(times.group), store: record.name, namespace: namespace, since: since,
                            text: "group \(times.group) of \(place) should have been backed up"))
                }
            }
            return (counts, alerts)
        } catch {
            // A store that is offline or cannot be read is not silent for that: others report it.
            log.debug("groups not looked at", metadata: ["datastore": "\(record.name)", "reason": "\(error)"])
            return nil
        }
    }
}

extension OverdueAlert {
    package func isVisible(to caller: AuthID, _ access: AccessControl) -> Bool {
        access.privileges(of: caller, on: .datastore(store, namespace)).contains(.datastoreAudit)
    }
}
