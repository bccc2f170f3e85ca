import BackupFormats
import Platform
import Testing

@Suite("A worker pool")
struct WorkerPoolTests {
    @Test("runs many jobs and gives their results and failures")
    func runs() async throws {
        let pool = WorkerPool(name: "test", width: 3)
        defer { pool.close() }
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<500 { group.addTask { try await pool.run { number } } }
            return try await group.reduce(0, +)
        }
        #expect(sum == 500 * 499 / 2)
        await #expect(throws: FormatError.self) {
            try await pool.run { throw FormatError.invalid("x", offset: 0) }
        }
    }

    @Test("uses no more threads than it has")
    func width() async throws {
        let pool = WorkerPool(name: "test", width: 2)
        defer { pool.close() }
        let counts = Monitor((now: 0, most: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await pool.run {
                        counts.withLock { counts in
                            counts.now += 1
                            counts.most = max(counts.most, counts.now)
                        }
                        counts.withLock { $0.now -= 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(counts.withLock { $0.most } <= 2)
    }

    /// A job that has begun and waits until the gate opens.
    struct Blocker {
        let gate = Monitor(false)
        let job: Task<Void, any Error>

        init(_ pool: WorkerPool) async {
            let (begun, signal) = AsyncStream.makeStream(of: Void.self)
            job = Task { [gate] in
                try await pool.run {
                    signal.finish()
                    _ = gate.wait { $0 ? true : nil }
                }
            }
            for await _ in begun {}
        }

        func end() async throws {
            gate.withLock(wake: true) { $0 = true }
            try await job.value
        }
    }

    @Test("lets go of what a job held once it has run")
    func letsGo() async throws {
        final class Held: Sendable {}
        let pool = WorkerPool(name: "test", width: 1)
        defer { pool.close() }
        weak var kept: Held?
        do {
            let held = Held()
            kept = held
            try await pool.run { withExtendedLifetime(held) {} }
        }
        try await pool.run {}
        #expect(kept == nil)
    }

    @Test("refuses more than may wait, and everything once closed")
    func bounds() async throws {
        let pool = WorkerPool(name: "test", width: 1, queueLimit: 1)
        let blocker = await Blocker(pool)
        try await withThrowingTaskGroup(of: Result<Int, any Error>.self) { group in
            for number in 0..<2 {
                group.addTask { do { return .success(try await pool.run { number }) } catch { return .failure(error) } }
            }
            // One of the two waits; the other ends at once.
            let refused = try await group.next()
            let failure = #expect(throws: BackupFailure.self) { try refused?.get() }
            #expect(failure?.kind == .unavailable)
            #expect(failure?.summary.contains("1 jobs") == true)
            try await blocker.end()
            _ = try await group.next()?.get()
        }
        pool.close()
        let error = await #expect(throws: BackupFailure.self) { try await pool.run { 3 } }
        #expect(error?.kind == .unavailable)
    }

    @Test("never begins a job that was cancelled while it waited")
    func cancels() async throws {
        let pool = WorkerPool(name: "test", width: 1)
        defer { pool.close() }
        let blocker = await Blocker(pool)
        let ran = Monitor(false)
        let waiting = Task { try await pool.run { ran.withLock { $0 = true } } }
        waiting.cancel()
        let error = await #expect(throws: BackupFailure.self) { try await waiting.value }
        #expect(error?.kind == .cancelled)
        try await blocker.end()
        #expect(!ran.withLock { $0 })
    }
}

@Suite("Work on several threads")
struct ThreadsTests {
    @Test("does each piece once and ends with the first failure")
    func pieces() throws {
        let seen = Monitor<[Int]>([])
        try Threads.forEach(count: 1000, width: 4) { number in seen.withLock { $0.append(number) } }
        #expect(seen.withLock { $0.sorted() } == Array(0..<1000))
        #expect(throws: BackupFailure.self) {
            try Threads.forEach(count: 1000, width: 4) { number in
                if number == 10 { throw BackupFailure(.cancelled, "enough") }
            }
        }
        try Threads.forEach(count: 0, width: 4) { _ in Issue.record("there is nothing to do") }
    }
}
