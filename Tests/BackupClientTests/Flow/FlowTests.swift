import BackupClient
import BackupFormats
import Synchronization
import Testing

/// Units that are held, and the most that ever were.
private final class Gauge: Sendable {
    private let state = Mutex([0, 0])

    func take(_ units: Int) { state.withLock { $0 = [$0[0] + units, max($0[1], $0[0] + units)] } }
    func giveBack(_ units: Int) { state.withLock { $0[0] -= units } }
    var now: Int { state.withLock { $0[0] } }
    var most: Int { state.withLock { $0[1] } }
}

@Suite("A budget")
struct BudgetTests {
    @Test("never gives more than it has, and serves all who ask")
    func bounds() async throws {
        let budget = Budget(total: 10)
        let held = Gauge()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for units in (1...200).map({ $0 % 7 + 1 }) {
                group.addTask {
                    try await budget.acquire(units)
                    held.take(units)
                    await Task.yield()
                    held.giveBack(units)
                    budget.release(units)
                }
            }
            try await group.waitForAll()
        }
        #expect(held.most <= 10)
        #expect(held.now == 0)
    }

    @Test("gives a request above its size all it has")
    func large() async throws {
        let budget = Budget(total: 4)
        try await budget.acquire(100)
        budget.release(100)
        try await budget.acquire(4)
    }

    @Test("lets all who wait fail, and all who come")
    func fails() async throws {
        let budget = Budget(total: 1)
        try await budget.acquire(1)
        let waiting = Task { try await budget.acquire(1) }
        await Task.yield()
        budget.fail(BackupFailure(.cancelled, "over"))
        await #expect(throws: BackupFailure.self) { try await waiting.value }
        await #expect(throws: BackupFailure.self) { try await budget.acquire(1) }
    }
}

@Suite("A channel")
struct ChannelTests {
    @Test("hands elements over in order and then ends")
    func order() async throws {
        let channel = Channel<Int>(limit: 3)
        let writer = Task {
            for number in 0..<100 { try await channel.push(number) }
            channel.finish()
        }
        var seen: [Int] = []
        while let number = try await channel.next() { seen.append(number) }
        try await writer.value
        #expect(seen == Array(0..<100))
    }

    @Test("fails on both sides")
    func fails() async throws {
        let channel = Channel<Int>(limit: 1)
        try await channel.push(1)
        let writer = Task { try await channel.push(2) }
        await Task.yield()
        channel.fail(BackupFailure(.cancelled, "over"))
        await #expect(throws: BackupFailure.self) { try await writer.value }
        await #expect(throws: BackupFailure.self) { _ = try await channel.next() }
    }
}
