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
        var reader: (id: Int, continuation: CheckedContinuation<Void, Never>)?
        var nextReader = 0
    }

    private let rootID: String
    private let state = Mutex(State())

    init(rootID: String) { self.rootID = rootID }

    /// Called by the tree, in order.
    func put(_ event: TaskEvent) {
        wake { state in
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
    }

    private func marker(_ state: inout State, _ time: Int64) -> TaskEvent {
        defer { state.droppedCount = 0 }
        return TaskEvent(
            taskID: rootID, time: time,
            kind: .warning(
                message: "\(state.droppedCount) messages were left out, because this reader was too slow", data: nil))
    }

    private func wake(_ body: (inout State) -> Void) {
        let reader = state.withLock { state in
            body(&state)
            defer { state.reader = nil }
            return state.reader
        }
        reader?.continuation.resume()
    }

    /// What has happened since the last call; waits for it at most so long. Called by one reader at a time.
    ///
    /// - Throws: `CancellationError` where the reader's task is cancelled.
    package func next(within limit: Duration?) async throws -> Next {
        if let next = take() { return next }
        await wait(limit)
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

    private func wait(_ limit: Duration?) async {
        let id = state.withLock { state in
            defer { state.nextReader += 1 }
            return state.nextReader
        }
        let timer = limit.map { limit in
            Task {
                try? await Task.sleep(for: limit)
                release(id)
            }
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    guard state.waiting.isEmpty, !state.isEnded, !Task.isCancelled else { return true }
                    state.reader = (id, continuation)
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            release(id)
        }
        timer?.cancel()
    }

    private func release(_ id: Int) {
        let reader = state.withLock { state in
            guard state.reader?.id == id else { return nil as CheckedContinuation<Void, Never>? }
            defer { state.reader = nil }
            return state.reader?.continuation
        }
        reader?.resume()
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
