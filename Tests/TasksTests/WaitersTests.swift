import Synchronization
import Testing

@testable import Tasks

@Suite("Those who wait")
struct WaitersTests {
    let waiters = Waiters()

    @Test("return at once where there is nothing to wait for, or no time")
    func atOnce() async {
        await waiters.wait(atMost: nil) { true }
        for _ in 0..<200 { await waiters.wait(atMost: .zero) { false } }
        #expect(waiters.count == 0)
    }

    private final class Counter: Sendable {
        private let count = Mutex(0)
        var value: Int { count.withLock { $0 } }
        func add() { count.withLock { $0 += 1 } }
    }

    @Test("are all woken by a change, none of them sleeps through it")
    func woken() async {
        let changes = Counter()
        let waiters = waiters
        let work = (0..<50).map { _ in
            Task {
                while changes.value < 100 {
                    let seen = changes.value
                    await waiters.wait(atMost: nil) { seen >= 100 || changes.value != seen }
                }
            }
        }
        for _ in 0..<100 {
            changes.add()
            waiters.wakeAll()
            await Task.yield()
        }
        for waiter in work { await waiter.value }
        #expect(waiters.count == 0)
    }

    @Test("return when they are cancelled, before or while they wait")
    func cancelled() async throws {
        let waiters = waiters
        let work = Task { await waiters.wait(atMost: nil) { false } }
        try await waitUntil { waiters.count == 1 }
        work.cancel()
        await work.value
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            await waiters.wait(atMost: nil) { false }
        }
        await late.value
        #expect(waiters.count == 0)
    }
}
