import BackupFormats
import Logging
import PeerSyncProtocol
import StateDatabase
import Synchronization

/// Settings that were sent to members, and what became of them. The protocol has no answer to a push: the next view that
/// the member gives of its settings tells, or that it ends the session over it. (Spec: backrest-sync §5.6, §9.2.)
final class ConfigPushes: Sendable {
    /// Pushes that are remembered of a member, and those of them that a later view may still decide.
    private static let maxKept = 50
    private static let maxOpen = 8

    private let database: StateDatabase
    private let settings: HubSettings
    private let time: TimeSource
    private let log: Logger

    private struct Open {
        let id: Int64
        let push: ConfigPush
        var outcome = ConfigPushResult.Outcome.sent
        var message = ""
    }
    private let open = Mutex<[String: [Open]]>([:])

    /// Blocks.
    init(database: StateDatabase, settings: HubSettings, time: TimeSource, log: Logger) throws {
        self.database = database
        self.settings = settings
        self.time = time
        self.log = log
        try database.write {
            try $0.setPeerPushes(
                from: ConfigPushResult.Outcome.sent.rawValue, to: ConfigPushResult.Outcome.unknown.rawValue,
                message: "this server was restarted")
        }
    }

    /// Remembers a push and sends it; the caller has checked it.
    func send(_ push: ConfigPush, through session: HubSession) async throws -> ConfigPushResult {
        let keyID = session.member.keyID
        let (now, subjects) = (time.seconds, push.subjects)
        let id = try await database.write { state in
            try state.addPeerPush(
                to: keyID, time: now, outcome: ConfigPushResult.Outcome.sent.rawValue,
                subjects: subjects.joined(separator: "\n"), message: "", limit: Self.maxKept)
        }
        open.withLock { open in
            open[keyID] = ((open[keyID] ?? []) + [Open(id: id, push: push)]).suffix(Self.maxOpen)
        }
        var message = WireSyncStreamItem.SyncActionSetConfig()
        message.repos = push.repos
        message.plans = push.plans
        message.reposToDelete = push.reposToDelete
        message.plansToDelete = push.plansToDelete
        do { try session.send(.configPush(message)) } catch {
            decide(keyID, { $0.id == id }) { _ in (.unknown, error.reason) }
            throw BackupFailure(
                .unavailable, "the settings could not be sent to '\(session.member.instanceID)'", cause: error)
        }
        Task { [weak self, patience = settings.pushPatience] in
            try await Task.sleep(for: patience)
            self?.decide(keyID, { $0.id == id && $0.outcome == .sent }) { _ in
                (.unknown, "the member gave no sign")
            }
        }
        log.notice(
            "settings sent to peer",
            metadata: ["peer": "\(session.member.instanceID)", "subjects": "\(subjects.joined(separator: " "))"])
        return ConfigPushResult(id: id, time: now, outcome: .sent, subjects: subjects, message: "")
    }

    /// The member has told its settings.
    func saw(_ view: WireRemoteConfig, of keyID: String) {
        decide(keyID, { _ in true }) { push in
            push.isShown(in: view) ? (.applied, "") : (.refused, "the member's settings do not show it")
        }
    }

    /// A real member ends the session over what it refuses, but also when it has applied something: then it comes back
    /// at once with its new settings.
    func sessionEnded(of keyID: String) {
        let waiting = Set(open.withLock { $0[keyID]?.filter { $0.outcome == .sent }.map(\.id) ?? [] })
        guard !waiting.isEmpty else { return }
        Task { [weak self, patience = settings.pushReturn] in
            try await Task.sleep(for: patience)
            self?.decide(keyID, { waiting.contains($0.id) && $0.outcome == .sent }) { _ in
                (.refused, "the member ended the session over it")
            }
        }
    }

    func forget(_ keyID: String) { open.withLock { $0[keyID] = nil } }

    /// Newest first.
    func results(of keyID: String) async throws -> [ConfigPushResult] {
        let records = try await database.read { try $0.peerPushes(of: keyID) }
        // What is decided may not be stored yet.
        let current = open.withLock { open in
            Dictionary((open[keyID] ?? []).map { ($0.id, ($0.outcome, $0.message)) }) { first, _ in first }
        }
        return records.map { record in
            let (outcome, message) =
                current[record.id] ?? (ConfigPushResult.Outcome(rawValue: record.outcome) ?? .unknown, record.message)
            return ConfigPushResult(
                id: record.id, time: record.time, outcome: outcome,
                subjects: record.subjects.split(separator: "\n").map(String.init), message: message)
        }
    }

    /// Gives those pushes of a member that are meant their outcome. One that is applied is over; any other may still turn
    /// out to be.
    private func decide(
        _ keyID: String, _ isMeant: (Open) -> Bool,
        _ verdict: (ConfigPush) -> (ConfigPushResult.Outcome, message: String)
    ) {
        let changed = open.withLock { open in
            var changed: [Open] = []
            for index in (open[keyID] ?? []).indices {
                guard var entry = open[keyID]?[index], entry.outcome != .applied, isMeant(entry) else { continue }
                let old = entry.outcome
                (entry.outcome, entry.message) = verdict(entry.push)
                open[keyID]?[index] = entry
                if entry.outcome != old { changed.append(entry) }
            }
            return changed
        }
        for entry in changed { store(entry.id, of: keyID) }
    }

    private func store(_ id: Int64, of keyID: String) {
        Task { [self] in
            do {
                try await database.write { [self] state in
                    // What it is at the time of the transaction: of two decisions the later one stays.
                    let entry = open.withLock { $0[keyID]?.first { $0.id == id } }
                    guard let entry else { return }
                    try state.setPeerPush(id, outcome: entry.outcome.rawValue, message: entry.message)
                }
            } catch {
                log.warning("outcome of a push not stored", metadata: ["push": "\(id)", "reason": "\(error)"])
            }
        }
    }
}

extension ConfigPush {
    /// Names of what is sent: `repo:NAME`, `plan:NAME`, with `!` in front of what is to go.
    var subjects: [String] {
        repos.map { "repo:\($0.id)" } + plans.map { "plan:\($0.id)" } + reposToDelete.map { "!repo:\($0)" }
            + plansToDelete.map { "!plan:\($0)" }
    }

    /// Whether the settings are as this push wants them. Secrets that the view hides do not count.
    func isShown(in view: WireRemoteConfig) -> Bool {
        plans.allSatisfy { plan in view.plans.contains { $0.id == plan.id && $0 == plan } }
            && repos.allSatisfy { repo in view.repos.contains { Self.shows($0, repo) } }
            && !view.repos.contains { reposToDelete.contains($0.id) }
            && !view.plans.contains { plansToDelete.contains($0.id) }
    }

    private static func shows(_ seen: WireRepo, _ pushed: WireRepo) -> Bool {
        var (seen, pushed) = (seen, pushed)
        if seen.password.isEmpty { pushed.password = "" }
        if seen.env.isEmpty { pushed.env = [] }
        if seen.flags.isEmpty { pushed.flags = [] }
        if seen.hooks.isEmpty { pushed.hooks = [] }
        // A repo that the member has made anew has got its guid there.
        if pushed.autoInitialize { (pushed.guid, pushed.autoInitialize) = (seen.guid, seen.autoInitialize) }
        seen.originInstanceID = pushed.originInstanceID
        return seen == pushed
    }
}
