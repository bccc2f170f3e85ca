import BackupFormats
import CairnTestSupport
import Synchronization
import Testing

@testable import XenBackup

/// A number that several tasks change.
final class Count: Sendable {
    private let state = Mutex((now: 0, most: 0))

    var value: Int { state.withLock { $0.now } }
    /// The largest that it was.
    var most: Int { state.withLock { $0.most } }

    /// The value before.
    @discardableResult
    func add(_ step: Int) -> Int {
        state.withLock { state in
            defer { state.most = max(state.most, state.now) }
            defer { state.now += step }
            return state.now
        }
    }
}

@Suite("One source for several readers")
struct TeeTests {
    @Test("gives all of it to each, whatever their speed", arguments: 0..<20)
    func all(_ round: Int) async throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededRandom(seed: seed)
        let readers = Int.random(in: 1...4, using: &random)
        let depth = Int.random(in: 1...3, using: &random)
        let pauses = (0..<readers).map { _ in Int.random(in: 0...20, using: &random) }
        let tee = Tee<Int>(readers: readers, depth: depth)
        let sent = Count()
        let results = try await withThrowingTaskGroup(of: [Int].self) { group in
            for reader in 0..<readers {
                group.addTask {
                    var taken: [Int] = []
                    while let item = try await tee.next(reader) {
                        taken.append(item)
                        // Who is slowest holds the source back.
                        #expect(sent.value - taken.count <= depth + 1, "seed \(seed)")
                        for _ in 0..<pauses[reader] { await Task.yield() }
                    }
                    return taken
                }
            }
            for item in 0..<100 {
                #expect(try await tee.send(item))
                sent.add(1)
            }
            tee.finish(.success(()))
            var results: [[Int]] = []
            for try await result in group { results.append(result) }
            return results
        }
        #expect(results == Array(repeating: Array(0..<100), count: readers), "seed \(seed)")
    }

    @Test("goes on without a reader that gave up")
    func dropped() async throws {
        let tee = Tee<Int>(readers: 2, depth: 1)
        #expect(try await tee.send(0))
        let sending = Task { try await tee.send(1) }
        #expect(try await tee.next(0) == 0)
        tee.drop(1)
        #expect(try await sending.value)
        #expect(try await tee.next(0) == 1)
        tee.drop(0)
        #expect(try await !tee.send(2))
        #expect(tee.isAbandoned)
        await #expect(throws: CancellationError.self) { try await tee.next(0) }
    }

    @Test("passes on that the source broke")
    func broken() async throws {
        let tee = Tee<Int>(readers: 1, depth: 4)
        #expect(try await tee.send(0))
        tee.finish(.failure(BackupFailure(.corruptData, "the source broke")))
        await #expect(throws: BackupFailure.self) { try await tee.next(0) }
    }

    @Test("lets go of who is cancelled")
    func cancelled() async throws {
        let tee = Tee<Int>(readers: 1, depth: 1)
        let reading = Task { try await tee.next(0) }
        reading.cancel()
        await #expect(throws: CancellationError.self) { try await reading.value }
        #expect(try await tee.send(0))
        let writing = Task { try await tee.send(1) }
        writing.cancel()
        await #expect(throws: CancellationError.self) { try await writing.value }
    }

    @Test("cuts bytes to what the reader asks for")
    func pieces() async throws {
        let tee = Tee<[UInt8]>(readers: 1, depth: 2)
        let bytes = TeeBytes(tee, reader: 0)
        _ = try await tee.send([1, 2, 3, 4, 5])
        tee.finish(.success(()))
        #expect(try await bytes.read(upTo: 2) == [1, 2])
        #expect(try await bytes.read(upTo: 2) == [3, 4])
        #expect(try await bytes.read(upTo: 2) == [5])
        #expect(try await bytes.read(upTo: 2) == nil)
    }
}

@Suite("Slots")
struct SlotTests {
    @Test("hold no more at a time than there are")
    func width() async throws {
        let slots = Slots(count: 3)
        let running = Count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await slots.hold {
                        running.add(1)
                        await Task.yield()
                        running.add(-1)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(running.most <= 3)
    }

    @Test("go in the order of the queue, past those who gave up")
    func order() async throws {
        let slots = Slots(count: 1)
        try await slots.take(slots.enqueue())
        let second = slots.enqueue()
        let third = slots.enqueue()
        let waiting = Task { try await slots.take(second) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        slots.giveBack()
        try await slots.take(third)
        slots.giveBack()
        try await slots.hold {}
    }
}

@Suite("A time limit")
struct TimeLimitTests {
    @Test("ends what takes longer, and says so")
    func over() async throws {
        let failure = try await #require(throws: BackupFailure.self) {
            try await withTimeLimit(.milliseconds(1), of: "the job") { try await Task.sleep(for: .seconds(600)) }
        }
        #expect(failure.summary.hasPrefix("the job took longer than"))
    }

    @Test("does not touch what is done in time")
    func under() async throws {
        #expect(try await withTimeLimit(.seconds(600), of: "the job") { 1 } == 1)
        #expect(try await withTimeLimit(nil, of: "the job") { 2 } == 2)
    }
}
