import BackupFormats
import Synchronization

/// Which root tasks have changed, in what order, for those who follow all of them. (Spec: xo-proxy §3.4.)
///
/// Only the last change of a task is kept, so that a follower who comes late gets each task once. Of tasks that are
/// gone the last state is kept, of the latest ``maxRemoved``.
final class TaskChanges: Sendable {
    /// Tasks whose last change is known, and those among them that are gone. Whoever asks from before what was
    /// forgotten must begin anew.
    static let maxTasks = 20_000
    static let maxRemoved = 500
    /// Followers that may wait at once.
    static let maxWaiters = 1024

    struct Change: Sendable {
        let id: String
        let source: Source
        let created: Int64
        let last: Int64
        /// The last state of a task that is gone.
        let removed: JSONValue?
    }

    /// Where the present state of a task is found.
    enum Source: Sendable {
        case tree
        case server(UPID)
    }

    private struct State {
        var sequence: Int64 = 0
        /// Changes up to here may have been forgotten.
        var floor: Int64 = 0
        var changes: [String: Change] = [:]
        var removed: [String] = []
        var isClosed = false
    }
    private let state = Mutex(State())
    private let waiters = Waiters()

    // MARK: Telling

    func created(_ id: String, _ source: Source) { note(id, source, isNew: true) }
    func changed(_ id: String, _ source: Source) { note(id, source, isNew: false) }

    private func note(_ id: String, _ source: Source, isNew: Bool) {
        tell { state in
            let next = state.sequence + 1
            let known = state.changes[id]
            guard known?.removed == nil else { return false }
            state.sequence = next
            state.changes[id] = Change(
                id: id, source: source, created: isNew ? next : known?.created ?? 0, last: next, removed: nil)
            Self.forget(&state)
            return true
        }
    }

    func removed(_ id: String, _ source: Source, last: JSONValue) {
        tell { state in
            let next = state.sequence + 1
            let known = state.changes[id]
            guard known?.removed == nil else { return false }
            state.sequence = next
            state.changes[id] = Change(
                id: id, source: source, created: known?.created ?? 0, last: next, removed: last)
            state.removed.append(id)
            if state.removed.count > Self.maxRemoved {
                let oldest = state.removed.removeFirst()
                if let change = state.changes.removeValue(forKey: oldest) {
                    state.floor = max(state.floor, change.last)
                }
            }
            return true
        }
    }

    private static func forget(_ state: inout State) {
        guard state.changes.count > maxTasks else { return }
        let oldest = state.changes.values.sorted { $0.last < $1.last }.prefix(maxTasks / 4)
        for change in oldest {
            state.changes[change.id] = nil
            state.floor = max(state.floor, change.last)
        }
        state.removed.removeAll { state.changes[$0] == nil }
    }

    private func tell(_ body: (inout State) -> Bool) {
        if state.withLock({ body(&$0) }) { waiters.wakeAll() }
    }

    /// Wakes all who wait; nobody waits any more.
    func close() {
        tell { state in
            state.isClosed = true
            return true
        }
    }

    // MARK: Asking

    var sequence: Int64 { state.withLock { $0.sequence } }
    /// The last change of a task that has changed since the start.
    func last(of id: String) -> Int64 { state.withLock { $0.changes[id]?.last ?? 0 } }
    var waiterCount: Int { waiters.count }

    /// The changes after `sequence`, in order, and where to go on; nil where some of them have been forgotten.
    func since(_ sequence: Int64) -> (changes: [Change], last: Int64)? {
        state.withLock { state in
            guard sequence >= state.floor, sequence <= state.sequence else { return nil }
            guard sequence < state.sequence else { return ([], sequence) }
            let changes = state.changes.values.filter { $0.last > sequence }
            return (changes.sorted { $0.last < $1.last }, state.sequence)
        }
    }

    /// Returns at the next change after `sequence`, after `limit`, or when the caller's task is cancelled.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where too many wait.
    func wait(after sequence: Int64, atMost limit: Duration) async throws {
        guard waiters.count < Self.maxWaiters else {
            throw BackupFailure(.unavailable, "Too many callers wait for events (\(Self.maxWaiters))")
        }
        await waiters.wait(atMost: limit) { state.withLock { $0.sequence != sequence || $0.isClosed } }
    }
}
