import Synchronization

/// Lets a number of tasks work at a time; the others wait in the order in which they came.
final class Slots: Sendable {
    private struct State {
        var free: Int
        /// In the order of arrival. A latch that fails is one whose task was cancelled.
        var waiting: [Latch<Void>] = []
    }

    private let state: Mutex<State>

    /// - Parameter count: 0 is no limit.
    init(count: Int) {
        state = Mutex(State(free: count > 0 ? count : .max))
    }

    /// Runs `body` while holding a slot.
    ///
    /// - Throws: `CancellationError` where the task is cancelled while it waits.
    func hold<Value>(_ body: () async throws -> Value) async throws -> Value {
        try await take(enqueue())
        defer { giveBack() }
        return try await body()
    }

    /// A place in the queue; every one is given to ``take(_:)``.
    struct Turn: Sendable {
        /// Nil where there was a free slot.
        fileprivate let latch: Latch<Void>?
    }

    func enqueue() -> Turn {
        state.withLock { state in
            guard state.free == 0 else {
                state.free -= 1
                return Turn(latch: nil)
            }
            let latch = Latch<Void>()
            state.waiting.append(latch)
            return Turn(latch: latch)
        }
    }

    /// Waits for the slot; who has it gives it back.
    ///
    /// - Throws: `CancellationError` where the task is cancelled meanwhile; then there is nothing to give back.
    func take(_ turn: Turn) async throws {
        do {
            try await turn.latch?.value()
            try Task.checkCancellation()
        } catch {
            let isWaiting = state.withLock { state in
                guard let index = state.waiting.firstIndex(where: { $0 === turn.latch }) else { return false }
                state.waiting.remove(at: index)
                return true
            }
            // Who is no longer in the queue was given a slot, and passes it on.
            if !isWaiting { giveBack() }
            throw error
        }
    }

    func giveBack() {
        let next = state.withLock { state -> Latch<Void>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.succeed(())
    }
}

/// One task at a time for each name; the others wait in the order in which they came.
final class NamedLocks: Sendable {
    private struct Entry {
        let slot = Slots(count: 1)
        var users = 0
    }

    private let entries = Mutex<[String: Entry]>([:])

    func hold<Value>(_ name: String, _ body: () async throws -> Value) async throws -> Value {
        let slot = entries.withLock { entries in
            entries[name, default: Entry()].users += 1
            return entries[name, default: Entry()].slot
        }
        defer {
            entries.withLock { entries in
                entries[name]?.users -= 1
                if entries[name]?.users == 0 { entries[name] = nil }
            }
        }
        return try await slot.hold(body)
    }
}
