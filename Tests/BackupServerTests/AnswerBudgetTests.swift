import BackupFormats
@testable import BackupServer
import Synchronization
import Testing

@Suite("The budget for chunks on their way to readers")
struct AnswerBudgetTests {
    @Test("gives what fits, and the rest when leases go")
    func waits() async throws {
        let budget = AnswerBudget(limit: 100, sessionLimit: 60)
        let share = AnswerBudget.Share(of: budget)
        let first = Mutex<AnswerBudget.Lease?>(try await share.take(40))
        let hasSecond = Atomic(false)
        async let second = {
            let lease = try await share.take(30)
            hasSecond.store(true, ordering: .sequentiallyConsistent)
            return lease
        }()
        for _ in 0..<10 { await Task.yield() }
        let isEarly = hasSecond.load(ordering: .sequentiallyConsistent)
        #expect(!isEarly)
        #expect(budget.heldBytes == 40)
        first.withLock { $0 = nil }
        try await withExtendedLifetime(second) { #expect(budget.heldBytes == 30) }
    }

    @Test("lets a session that holds nothing through, whoever has taken all")
    func moves() async throws {
        let budget = AnswerBudget(limit: 100, sessionLimit: 100)
        let greedy = AnswerBudget.Share(of: budget)
        let lease = try await greedy.take(100)
        let small = try await AnswerBudget.Share(of: budget).take(50)
        #expect(budget.heldBytes == 150)
        withExtendedLifetime((lease, small)) {}
    }

    @Test("holds one chunk that is larger than itself")
    func large() async throws {
        let budget = AnswerBudget(limit: 10, sessionLimit: 5)
        let lease = try await AnswerBudget.Share(of: budget).take(1000)
        #expect(budget.heldBytes == 1000)
        withExtendedLifetime(lease) {}
    }

    @Test("turns those away whose session ends")
    func ends() async throws {
        let budget = AnswerBudget(limit: 100, sessionLimit: 50)
        let share = AnswerBudget.Share(of: budget)
        let lease = try await share.take(50)
        let waiting = Task { _ = try await share.take(1) }
        share.end()
        await #expect(throws: BackupFailure.self) { try await waiting.value }
        withExtendedLifetime(lease) {}
    }
}
