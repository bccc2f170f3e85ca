import CairnTestSupport
import PeerSync
import PeerSyncProtocol
import Testing

@Suite("A manifest")
struct ManifestTests {
    @Test("tells the hub what to remove and what to ask for, in its own order")
    func comparison() {
        let stored: [(id: Int64, counter: Int64)] = [(1, 10), (2, 20), (3, 30), (5, 50)]
        let found = ManifestComparison(ids: [5, 2, 9, 1, -4], counters: [50, 21, 1, 10, 1], stored: stored)
        #expect(found.vanished == [3])
        #expect(found.wanted == [2, 9, -4])
    }

    @Test("may name an operation twice, and be empty")
    func odd() {
        let stored: [(id: Int64, counter: Int64)] = [(1, 10), (2, 20)]
        #expect(ManifestComparison(ids: [1, 1, 1], counters: [9, 10, 8], stored: stored).wanted == [1, 1])
        #expect(ManifestComparison(ids: [], counters: [], stored: stored).vanished == [1, 2])
        #expect(ManifestComparison(ids: [7, 7], counters: [1, 1], stored: []).wanted == [7, 7])
    }

    @Test("gives the same as a plain comparison, whatever the order")
    func random() {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed of the manifests: \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let stored = (0..<Int64.random(in: 0...30, using: &random)).map { (id: $0 * 2, counter: $0 % 5) }
            let ids = (0..<Int.random(in: 0...40, using: &random)).map { _ in Int64.random(in: -2...62, using: &random)
            }
            let counters = ids.map { _ in Int64.random(in: 0...4, using: &random) }
            let found = ManifestComparison(ids: ids, counters: counters, stored: stored)
            let known = Dictionary(uniqueKeysWithValues: stored.map { ($0.id, $0.counter) })
            #expect(found.vanished == stored.map(\.id).filter { !ids.contains($0) })
            #expect(found.wanted == zip(ids, counters).filter { known[$0.0] != $0.1 }.map(\.0))
        }
    }

    @Test("lists no more than a hub keeps")
    func bound() {
        let day: Int64 = 86_400
        let now = 1000 * day
        func entry(
            _ id: Int64, flow: Int64? = nil, _ kind: ManifestBound.Entry.Kind = .other, age: Int64 = 0,
            isForgotten: Bool? = nil
        ) -> ManifestBound.Entry {
            ManifestBound.Entry(
                id: id, flow: flow ?? id, repo: "r", plan: "p", instance: "i", kind: kind, time: now - age * day - id,
                isForgotten: isForgotten)
        }
        #expect(ManifestBound.listed((1...150).map { entry($0) }, now: now) == Array(1...100))
        #expect(ManifestBound.listed((1...20).map { entry($0, .check) }, now: now) == Array(1...12))
        #expect(ManifestBound.listed([entry(1, age: 29), entry(2, age: 31)], now: now) == [1])
        #expect(ManifestBound.listed([entry(1, .stats, age: 300), entry(2, .forget, age: 31)], now: now) == [1])
        // A flow with a live snapshot stays however old; one whose snapshot is forgotten goes at once.
        let flows = [
            entry(1, flow: 7, age: 500), entry(2, flow: 7, age: 500, isForgotten: false), entry(3, flow: 8),
            entry(4, flow: 8, isForgotten: true),
        ]
        #expect(ManifestBound.listed(flows, now: now) == [1, 2])
    }
}

@Suite("An operation that a hub receives")
struct ReceivedOperationTests {
    static func operation(_ change: (inout WireOperation) -> Void = { _ in }) -> WireOperation {
        var operation = WireOperation()
        operation.id = 4
        operation.modno = 9
        operation.flowID = 3
        operation.repoID = "r"
        operation.repoGuid = "g"
        operation.planID = "p"
        operation.instanceID = "i"
        operation.unixTimeStartMs = 1
        change(&operation)
        return operation
    }

    @Test("is kept with its own ids, whatever origin it claims")
    func sanitised() throws {
        let sent = Self.operation {
            $0.originalID = 77
            $0.originalFlowID = 78
            $0.originalInstanceKeyid = "ed25519.somebody-else"
        }
        let kept = try ReceivedOperation(sent)
        #expect(kept.originalID == 4 && kept.originalFlow == 3 && kept.counter == 9 && kept.kind == 0)
        #expect(kept.operation.originalInstanceKeyid.isEmpty && kept.operation.originalID == 4)
    }

    static let changes: [@Sendable (inout WireOperation) -> Void] = [
        { $0.id = 0 }, { $0.flowID = 0 }, { $0.repoID = "" }, { $0.repoGuid = "" }, { $0.planID = "" },
        { $0.instanceID = "" }, { $0.unixTimeStartMs = 0 }, { $0.snapshotID = "12345678" },
        { $0.planID = String(repeating: "x", count: 5000) },
    ]

    @Test("is refused without what it must have", arguments: changes.indices)
    func refused(_ place: Int) {
        let bad = Self.operation(Self.changes[place])
        #expect(throws: PeerSyncFailure.self) { _ = try ReceivedOperation(bad) }
    }
}

@Suite("The wait before the next attempt")
struct BackoffTests {
    @Test("grows as the original's does, and falls back after a good session")
    func grows() {
        var backoff = Backoff()
        let waits = (0..<7).map { _ in backoff.wait(after: 0, random: 0.5) }
        #expect(waits == [60, 180, 300, 540, 1020, 1980, 1980])
        #expect(backoff.wait(after: 60, random: 0.5) == 1)
        #expect(backoff.wait(after: 10, random: 0.5) == 170)
    }

    @Test("differs by a tenth between members")
    func jitter() {
        var low = Backoff()
        var high = Backoff()
        #expect(low.wait(after: 0, random: 0) == 54)
        #expect(high.wait(after: 0, random: 1) == 66)
    }

    @Test("is a second, once, when the hub refuses the session in which it paired")
    func pairing() {
        var backoff = Backoff()
        #expect(backoff.wait(after: 0, wasRefusedAfterPairing: true, random: 0.5) == 1)
        #expect(backoff.wait(after: 0, wasRefusedAfterPairing: true, random: 0.5) == 60)
    }
}
