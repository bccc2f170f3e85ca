import Synchronization

/// Those who wait for something that others bring about, each for a time of its own.
///
/// Whoever changes what is waited for calls ``wakeAll()`` afterwards. Nobody sleeps through a change: waiters look again
/// when they are entered here.
package final class Waiters: Sendable {
    private struct State {
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextID = 0
    }
    private let state = Mutex(State())

    package init() {}

    package var count: Int { state.withLock { $0.waiting.count } }

    /// Returns at the next ``wakeAll()``, after `limit`, when the caller's task is cancelled, or at once where `isReady`
    /// says so.
    ///
    /// - Parameter limit: Nil waits as long as it takes.
    package func wait(atMost limit: Duration?, unless isReady: @Sendable () -> Bool) async {
        let id = state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
        await withTaskCancellationHandler {
            var timer: Task<Void, Never>?
            await withCheckedContinuation { continuation in
                state.withLock { $0.waiting[id] = continuation }
                // Entered first, then asked: whatever comes in between wakes this one.
                if Task.isCancelled || isReady() { return release(id) }
                timer = limit.map { limit in
                    Task {
                        try? await Task.sleep(for: limit)
                        release(id)
                    }
                }
            }
            timer?.cancel()
        } onCancel: {
            release(id)
        }
    }

    package func wakeAll() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume() }
    }

    private func release(_ id: Int) { state.withLock { $0.waiting.removeValue(forKey: id) }?.resume() }
}
