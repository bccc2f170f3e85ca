import BackupFormats
import BackupServer
import PeerSyncProtocol
import Platform
import StateDatabase

extension PeerService {
    /// Number of the part of an operation that is a backup. (Spec: backrest-sync §2.5.)
    private static let backup: Int64 = 100
    /// Backups that are running are looked for among so many operations.
    private static let maxRunning = 10_000
    /// A backup that runs for longer keeps nobody quiet any more.
    private static let longestBackup: Int64 = 7 * 86_400

    /// A plan of a machine.
    private struct Series: Hashable {
        let keyID: String
        let instance: String
        let repoGUID: String
        let plan: String

        init(_ record: PeerOperationRecord) {
            keyID = record.keyID
            instance = record.instance
            repoGUID = record.repoGUID
            plan = record.plan
        }
    }

    package func lastResults() async throws -> [PlanResult] {
        let now = time.seconds
        let members = directory.peers.filter { $0.role == .member }
        let running = PeerOperationFilter(
            statuses: [Int64(WireOperationStatus.statusInprogress.rawValue)], kinds: [Self.backup],
            since: (now - Self.longestBackup) * 1000, limit: Self.maxRunning)
        let (last, busy) = try await database.read { state in
            (
                try state.lastPeerOperations(kind: Self.backup),
                Set(try state.peerOperations(running).map { Series($0.record) })
            )
        }
        let byMember = Dictionary(grouping: last, by: \.record.keyID)
        var results: [PlanResult] = []
        for member in members {
            let state = states.state(of: member.keyID)
            let settings = Dictionary((state?.remoteConfig.plans ?? []).map { ($0.id, $0) }) { first, _ in first }
            let found = byMember[member.keyID] ?? []
            for stored in found {
                let record = stored.record
                var since: Int64?
                if !busy.contains(Series(record)) {
                    since = try await overdue(record, settings[record.plan]?.schedule, now)
                }
                results.append(
                    PlanResult(
                        keyID: member.keyID, instanceID: member.instanceID, repo: record.repo, plan: record.plan,
                        last: try read(stored), overdueSince: since))
            }
            results += missing(member, state, known: Set(found.map(\.record.plan)), settings, now)
        }
        return results
    }

    /// When the next backup was due, where that is past.
    private func overdue(_ record: PeerOperationRecord, _ schedule: WireSchedule?, _ now: Int64) async throws -> Int64?
    {
        let due = PlanRhythm.due(
            schedule ?? WireSchedule(), last: record.start / 1000, isBackup: true, offset: LocalTime.offset)
        switch due {
        case .never: return nil
        case .at(let time): return time + PlanRhythm.patience < now ? time : nil
        case .unknown:
            let starts = try await database.read { state in
                try state.recentPeerStarts(
                    kind: Self.backup, of: record.keyID, instance: record.instance, repoGUID: record.repoGUID,
                    plan: record.plan, limit: GroupRhythm.maxBackups)
            }
            return GroupRhythm.overdueSince(starts.map { $0 / 1000 }, setting: .ownRhythm, now: now)
        }
    }

    /// Plans that the member has and that were never backed up, as far as is known here.
    private func missing(
        _ member: Peer, _ state: WirePeerState?, known: Set<String>, _ settings: [String: WirePlan], _ now: Int64
    ) -> [PlanResult] {
        (state?.knownPlans ?? []).compactMap { plan in
            // Names between underscores are no plans, but what Backrest and Cairn do on their own.
            guard !known.contains(plan.id), !plan.id.hasPrefix("_") else { return nil }
            let settings = settings[plan.id]
            var since: Int64?
            let due = PlanRhythm.due(
                settings?.schedule ?? WireSchedule(), last: member.added, isBackup: false, offset: LocalTime.offset)
            if case .at(let time) = due, time + PlanRhythm.patience < now { since = time }
            return PlanResult(
                keyID: member.keyID, instanceID: member.instanceID, repo: settings?.repo ?? "", plan: plan.id,
                last: nil, overdueSince: since)
        }
    }
}
