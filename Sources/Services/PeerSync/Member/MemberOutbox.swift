import BackupFormats
import Synchronization

/// What is to be sent in a session, as short as it can be said: which operations have changed, not what they are now. So
/// it is bounded however slow the hub is, and whoever fills it never waits.
///
/// Where too many operations have changed, they make place for a manifest, from which the hub sees what it lacks.
final class MemberOutbox: Sendable {
    /// Changed operations that may wait.
    static let maxChanges = 8192
    /// Operations that a hub may have asked for and not yet got.
    static let maxRequested = 2_000_000
    /// Logs that are sent at the same time.
    static let maxLogs = 4
    static let maxRefusals = 64

    enum Job: Sendable {
        case heartbeat, config, resources, manifest
        /// Operations that the hub has asked for.
        case answer([Int64])
        /// Operations that are new, or have changed.
        case news(created: [Int64], updated: [Int64])
        case log(LogReading)
        case logRefusal(id: String, reason: String)
    }

    /// How far a log was sent.
    struct LogReading: Sendable {
        let id: String
        let operation: Int64
        let task: UPID
        var offset = 0
    }

    fileprivate struct State {
        var flags: Set<Flag> = []
        var requested: [Int64] = []
        var requestedStart = 0
        var created: [Int64] = []
        var updated: [Int64] = []
        var changed: Set<Int64> = []
        var logs: [LogReading] = []
        var restingLogs: [LogReading] = []
        var refusals: [(id: String, reason: String)] = []
        var turn = 0
        var isClosed = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    enum Flag: Sendable, CaseIterable {
        case heartbeat, config, resources, manifest
    }

    private let state = Mutex(State())

    // MARK: Filling

    private func change(_ body: (inout State) -> Void) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            body(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func want(_ flags: Flag...) {
        change { $0.flags.formUnion(flags) }
    }

    func note(_ changes: OwnOperationChanges) {
        change { state in
            if changes.hasRemovals { state.flags.insert(.manifest) }
            for id in changes.created where state.changed.insert(id).inserted { state.created.append(id) }
            for id in changes.updated where state.changed.insert(id).inserted { state.updated.append(id) }
            if state.changed.count > Self.maxChanges {
                state.forgetChanges()
                state.flags.insert(.manifest)
            }
        }
    }

    /// - Returns: Whether there was room.
    func request(_ ids: [Int64]) -> Bool {
        var isTaken = true
        change { state in
            guard state.requested.count - state.requestedStart + ids.count <= Self.maxRequested else {
                isTaken = false
                return
            }
            state.requested += ids
        }
        return isTaken
    }

    /// - Returns: Whether there was room.
    func follow(_ log: LogReading) -> Bool {
        var isTaken = true
        change { state in
            guard state.logs.count + state.restingLogs.count < Self.maxLogs else {
                isTaken = false
                return
            }
            state.logs.append(log)
        }
        return isTaken
    }

    /// Tells that a log is not given. Where many wait already, the oldest are answered no more.
    func refuse(log id: String, _ reason: String) {
        change { state in
            if state.refusals.count >= Self.maxRefusals { state.refusals.removeFirst() }
            state.refusals.append((id, reason))
        }
    }

    /// A log whose next piece is to be sent.
    func again(_ log: LogReading) { change { $0.logs.append(log) } }

    /// A log from which more may come, but not at once.
    func rest(_ log: LogReading) { state.withLock { $0.restingLogs.append(log) } }

    /// Looks at the resting logs again.
    func wakeLogs() {
        change { state in
            state.logs += state.restingLogs
            state.restingLogs = []
        }
    }

    func close() { change { $0.isClosed = true } }

    // MARK: Emptying

    /// The next thing to send, when there is one. For one caller only.
    ///
    /// - Returns: Nil when the outbox was closed.
    func next() async -> Job? {
        while true {
            let (job, isClosed) = state.withLock { ($0.isClosed ? nil : $0.take(), $0.isClosed) }
            if isClosed { return nil }
            if let job { return job }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    if state.isClosed || state.hasWork { return true }
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        }
    }
}

extension MemberOutbox.State {
    fileprivate var hasWork: Bool {
        !flags.isEmpty || requestedStart < requested.count || !changed.isEmpty || !logs.isEmpty || !refusals.isEmpty
    }

    fileprivate mutating func forgetChanges() {
        created = []
        updated = []
        changed = []
    }

    /// What is short goes first; then operations and logs take turns.
    fileprivate mutating func take() -> MemberOutbox.Job? {
        if flags.remove(.config) != nil { return .config }
        if flags.remove(.resources) != nil { return .resources }
        if flags.remove(.manifest) != nil {
            // It is made after this moment, so it tells of all of them.
            forgetChanges()
            return .manifest
        }
        if flags.remove(.heartbeat) != nil { return .heartbeat }
        if !refusals.isEmpty {
            let first = refusals.removeFirst()
            return .logRefusal(id: first.id, reason: first.reason)
        }
        for _ in 0..<3 {
            turn = (turn + 1) % 3
            switch turn {
            case 0 where !changed.isEmpty:
                defer { forgetChanges() }
                return .news(created: created, updated: updated)
            case 1 where requestedStart < requested.count:
                let end = min(requested.count, requestedStart + PeerLimits.operationsPerAnswer)
                defer {
                    requestedStart = end
                    if end == requested.count {
                        requested = []
                        requestedStart = 0
                    }
                }
                return .answer(Array(requested[requestedStart..<end]))
            case 2 where !logs.isEmpty: return .log(logs.removeFirst())
            default: continue
            }
        }
        return nil
    }
}
