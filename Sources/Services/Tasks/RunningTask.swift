package import BackupFormats
import Platform
import Synchronization

/// A task that runs: where its code writes the log, hears of an abort, and says how it ended.
///
/// Nothing here waits for the disk: lines go into a bounded buffer that another thread empties. Where lines come faster
/// than the disk takes them, some are left out and a line says how many; the last line is always written.
package final class RunningTask: Sendable {
    /// Bytes of log that may wait to be written.
    static let bufferLimit = 1 << 20

    package let upid: UPID
    private let time: TimeSource
    /// Asks for ``takeWork()`` to be called on the writer's thread.
    private let schedule: @Sendable (RunningTask) -> Void

    private struct State {
        var pending: [UInt8] = []
        var droppedLines = 0
        var warnings = 0
        var progress: Double?
        var isAborted = false
        var abortHandlers: [@Sendable () -> Void] = []
        var status: String?
        var isScheduled = false
        var isStopped = false
        var isWithdrawn = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    init(upid: UPID, time: TimeSource, schedule: @escaping @Sendable (RunningTask) -> Void) {
        self.upid = upid
        self.time = time
        self.schedule = schedule
    }

    /// Writes a line; line ends inside make several.
    package func log(_ text: String) { append(text, isWarning: false) }

    /// Writes a line and counts it: a task with warnings ends as `WARNINGS: n`.
    package func warn(_ text: String) { append("warning: \(text)", isWarning: true) }

    /// Says how much of the work is done, 0 to 1.
    package func setProgress(_ fraction: Double) {
        state.withLock { $0.progress = min(1, max(0, fraction)) }
    }

    package var isAborted: Bool { state.withLock { $0.isAborted } }

    /// - Throws: ``BackupFailure`` of kind `cancelled` once the task was aborted.
    package func checkAborted() throws {
        if isAborted { throw BackupFailure(.cancelled, TaskStatus.aborted) }
    }

    /// Has `handler` called when the task is aborted, at once where it was already; not after the task has ended. It
    /// must not block.
    package func onAbort(_ handler: @escaping @Sendable () -> Void) {
        let isAborted = state.withLock { state in
            if !state.isAborted, state.status == nil { state.abortHandlers.append(handler) }
            return state.isAborted && state.status == nil
        }
        if isAborted { handler() }
    }

    /// Ends the task; only the first call counts. Its code may do nothing more for it afterwards.
    package func finish(_ outcome: TaskOutcome = .ok) {
        let now = time.seconds
        let mustSchedule = state.withLock { state in
            guard state.status == nil else { return false }
            state.status = TaskStatus.text(outcome, warnings: state.warnings, isAborted: state.isAborted)
            state.abortHandlers = []
            state.pending += Self.marker(&state.droppedLines, now)
            state.pending += TaskLogLine.encode(TaskStatus.lastLine(state.status ?? TaskStatus.unknown), at: now)
            return Self.mustSchedule(&state)
        }
        if mustSchedule { schedule(self) }
    }

    /// Takes the task back, as if it had never been: no log, no entry in the list. For work that turns out to be
    /// refused before it began.
    package func withdraw() {
        let mustSchedule = state.withLock { state in
            guard state.status == nil else { return false }
            state.status = TaskStatus.unknown
            state.isWithdrawn = true
            state.pending = []
            state.abortHandlers = []
            return Self.mustSchedule(&state)
        }
        if mustSchedule { schedule(self) }
    }

    var isWithdrawn: Bool { state.withLock { $0.isWithdrawn } }

    /// How it ended, see ``TaskStatus``; nil before.
    package var status: String? { state.withLock { $0.status } }

    /// Asks the task to end. What it does about it is its own affair.
    func abort() {
        let handlers: [@Sendable () -> Void] = state.withLock { state in
            guard !state.isAborted, state.status == nil else { return [] }
            state.isAborted = true
            defer { state.abortHandlers = [] }
            return state.abortHandlers
        }
        for handler in handlers { handler() }
    }

    var info: TaskInfo { TaskInfo(upid: upid, progress: state.withLock { $0.progress }) }

    private func append(_ text: String, isWarning: Bool) {
        let now = time.seconds
        let mustSchedule = state.withLock { state in
            if isWarning { state.warnings += 1 }
            guard state.status == nil else { return false }
            let line = TaskLogLine.encode(text, at: now)
            guard state.pending.count + line.count <= Self.bufferLimit else {
                state.droppedLines += 1
                return false
            }
            state.pending += Self.marker(&state.droppedLines, now) + line
            return Self.mustSchedule(&state)
        }
        if mustSchedule { schedule(self) }
    }

    private static func marker(_ droppedLines: inout Int, _ now: Int64) -> [UInt8] {
        guard droppedLines > 0 else { return [] }
        defer { droppedLines = 0 }
        return TaskLogLine.encode("[\(droppedLines) lines left out]", at: now)
    }

    private static func mustSchedule(_ state: inout State) -> Bool {
        defer { state.isScheduled = true }
        return !state.isScheduled
    }

    // MARK: The writer's side

    enum Work {
        case write([UInt8])
        /// Nothing is left to write, and the task has ended so.
        case close(status: String)
        /// The task was withdrawn: nothing of it stays.
        case discard
        /// Nothing to do until the next call of `schedule`.
        case rest
    }

    func takeWork() -> Work {
        state.withLock { state in
            if !state.pending.isEmpty {
                defer { state.pending = [] }
                return .write(state.pending)
            }
            if let status = state.status, !state.isStopped {
                return state.isWithdrawn ? .discard : .close(status: status)
            }
            state.isScheduled = false
            return .rest
        }
    }

    /// Marks the task as stopped and wakes those who wait for it.
    func markStopped() {
        let waiters = state.withLock { state in
            state.isStopped = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when the last line is in the log and the list shows the end.
    package func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                if !state.isStopped { state.waiters.append(continuation) }
                return state.isStopped
            }
            if isStopped { continuation.resume() }
        }
    }
}
