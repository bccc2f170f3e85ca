import BackupFormats
import Platform
import Synchronization

/// A bounded queue from one side of the program to the other: threads or tasks put in, one thread or task takes out.
package final class Channel<Element: Sendable>: Sendable {
    private struct State: Sendable {
        var items: [Element] = []
        var first = 0
        var isFinished = false
        var failure: (any Error)?
        var reader: (@Sendable () -> Void)?
    }

    private let places: Budget
    private let state = Mutex(State())

    /// - Parameter limit: Elements that may wait.
    package init(limit: Int) {
        places = Budget(total: limit)
    }

    /// Puts an element in, blocking the thread while the queue is full.
    ///
    /// - Throws: What ``fail(_:)`` was called with.
    package func pushBlocking(_ element: Element) throws {
        try places.acquireBlocking(1)
        append(element)
    }

    /// Puts an element in, waiting as a task while the queue is full.
    ///
    /// - Throws: What ``fail(_:)`` was called with.
    package func push(_ element: Element) async throws {
        try await places.acquire(1)
        append(element)
    }

    /// No more elements come.
    package func finish() { wake { $0.isFinished = true } }

    /// Both sides fail with `error` from now on. The first error stays.
    package func fail(_ error: any Error) {
        wake { $0.failure = $0.failure ?? error }
        places.fail(error)
    }

    /// The next element; nil after ``finish()``. One reader at a time.
    ///
    /// - Throws: What ``fail(_:)`` was called with.
    package func next() async throws -> Element? {
        while true {
            switch try take() {
            case .element(let element):
                places.release(1)
                return element
            case .end: return nil
            case .nothing: await wait()
            }
        }
    }

    /// As ``next()``, blocking the thread.
    package func nextBlocking() throws -> Element? {
        while true {
            switch try take() {
            case .element(let element):
                places.release(1)
                return element
            case .end: return nil
            case .nothing:
                let isAwake = Monitor(false)
                whenReady { isAwake.withLock(wake: true) { $0 = true } }
                isAwake.wait { $0 ? () : nil }
            }
        }
    }

    private enum Taken { case element(Element), end, nothing }

    private func take() throws -> Taken {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            guard state.first < state.items.count else { return state.isFinished ? .end : .nothing }
            let element = state.items[state.first]
            state.first += 1
            if state.first == state.items.count {
                state.items.removeAll(keepingCapacity: true)
                state.first = 0
            }
            return .element(element)
        }
    }

    private func wait() async {
        await withCheckedContinuation { continuation in whenReady { continuation.resume() } }
    }

    /// Calls `body` once, as soon as the next look is worth while.
    private func whenReady(_ body: @escaping @Sendable () -> Void) {
        let isReady = state.withLock { state in
            if state.failure != nil || state.isFinished || state.first < state.items.count { return true }
            state.reader = body
            return false
        }
        if isReady { body() }
    }

    private func append(_ element: Element) { wake { $0.items.append(element) } }

    private func wake(_ change: (inout sending State) -> Void) {
        let reader = state.withLock { state in
            change(&state)
            defer { state.reader = nil }
            return state.reader
        }
        reader?()
    }
}
