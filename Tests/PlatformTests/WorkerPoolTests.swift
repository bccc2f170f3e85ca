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

    @Test("refuses more than may wait, and everything once closed")
    func bounds() async throws {
        let pool = WorkerPool(name: "test", width: 1, queueLimit: 1)
        let gate = Monitor((isOpen: false, hasBegun: false))
        let blocked = Task {
            try await pool.run {
                gate.withLock(wake: true) { $0.hasBegun = true }
                _ = gate.wait { $0.isOpen ? true : nil }
            }
        }
        while !gate.withLock({ $0.hasBegun }) { await Task.yield() }
        let waiting = Task { try await pool.run { 1 } }
        var failure: BackupFailure?
        while failure == nil {
            // The second job may need a moment to enter the queue.
            do { _ = try await withThrowingTaskGroup(of: Int.self) { group in
                group.addTask { try await pool.run { 2 } }
                group.cancelAll()
                return try await group.next() ?? 0
            } } catch let error as BackupFailure where error.kind == .unavailable { failure = error } catch {}
        }
        #expect(failure?.summary.contains("1 jobs") == true)
        gate.withLock(wake: true) { $0.isOpen = true }
        _ = try await blocked.value
        #expect(try await waiting.value == 1)
        pool.close()
        let error = await #expect(throws: BackupFailure.self) { try await pool.run { 3 } }
        #expect(error?.kind == .unavailable)
    }

    @Test("never begins a job that was cancelled while it waited")
    func cancels() async throws {
        let pool = WorkerPool(name: "test", width: 1)
        defer { pool.close() }
        let gate = Monitor((isOpen: false, hasBegun: false))
        let blocked = Task {
            try await pool.run {
                gate.withLock(wake: true) { $0.hasBegun = true }
                _ = gate.wait { $0.isOpen ? true : nil }
            }
        }
        while !gate.withLock({ $0.hasBegun }) { await Task.yield() }
        let ran = Monitor(false)
        let waiting = Task { try await pool.run { ran.withLock { $0 = true } } }
        waiting.cancel()
        let error = await #expect(throws: BackupFailure.self) { try await waiting.value }
        #expect(error?.kind == .cancelled)
        gate.withLock(wake: true) { $0.isOpen = true }
        _ = try await blocked.value
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
