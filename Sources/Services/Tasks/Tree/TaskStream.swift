import BackupFormats
import Synchronization

/// The events of one tree for one reader, from the root's start to its end.
///
/// Nothing here makes the tree wait. Starts and ends always arrive, since a reader could not make sense of the rest
/// without them, and the tree has them in memory anyway; of other events at most ``limit`` wait, and where some were
/// left out a warning of the root says how many. (Decision 10.)
package final class TaskStream: Sendable {
    /// Events that may wait for a slow reader, starts and ends not counted.
    static let limit = 4096

    package enum Next: Sendable {
        /// One or more, in order.
        case events([TaskEvent])
        case silence
        /// The root has ended, and its end was given.
        case end
    }

    private struct State {
        var waiting: [TaskEvent] = []
        var droppableCount = 0
        var droppedCount = 0
        var isEnded = false
    }

    private let rootID: String
    private let state = Mutex(State())
    private let reader = Waiters()

    init(rootID: String) { self.rootID = rootID }

    /// Called by the tree, in order.
    func put(_ event: TaskEvent) {
        state.withLock { state in
            if event.isStructural {
                if state.droppedCount > 0, event.isEnd(of: rootID) { state.waiting.append(marker(&state, event.time)) }
                state.waiting.append(event)
                if event.isEnd(of: rootID) { state.isEnded = true }
            } else if state.droppableCount < Self.limit {
                if state.droppedCount > 0 { state.waiting.append(marker(&state, event.time)) }
                state.waiting.append(event)
                state.droppableCount += 1
            } else {
                state.droppedCount += 1
            }
        }
        reader.wakeAll()
    }

    private func marker(_ state: inout State, _ time: Int64) -> TaskEvent {
        defer { state.droppedCount = 0 }
        return TaskEvent(
            taskID: rootID, time: time,
            kind: .warning(
                message: "\(state.droppedCount) messages were left out, because this reader was too slow", data: nil))
    }

    /// What has happened since the last call; waits for it at most so long. Called by one reader at a time.
    ///
    /// - Throws: `CancellationError` where the reader's task is cancelled.
    package func next(within limit: Duration?) async throws -> Next {
        if let next = take() { return next }
        await reader.wait(atMost: limit) { state.withLock { !$0.waiting.isEmpty || $0.isEnded } }
        try Task.checkCancellation()
        return take() ?? .silence
    }

    private func take() -> Next? {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return state.isEnded ? .end : nil }
            defer {
                state.waiting = []
                state.droppableCount = 0
            }
            return .events(state.waiting)
        }
    }
}

extension TaskEvent {
    /// Whether readers need it to make sense of the others.
    fileprivate var isStructural: Bool {
        switch kind {
        case .start, .end: true
        case .property, .info, .warning, .abortionRequested: false
        }
    }

    fileprivate func isEnd(of id: String) -> Bool {
        if case .end = kind { taskID == id } else { false }
    }
}
