import PeerSync
import Platform
import StateDatabase

/// How long a hub takes to compare a manifest of a million operations with its database, and how much memory.
struct PeersManifestBench {
    private static let operationCount: Int64 = Int64(OperationStore.Limits().operations)
    private static let otherCount: Int64 = 100_000
    /// One of so many was changed, one is gone, one is new.
    private static let share: Int64 = 100
    private static let rounds = 3
    private static let keyID = "ed25519.bench"

    /// Makes a database in the folder for temporary files and removes it again.
    func run() async throws {
        let folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-bench")
        defer { _ = try? FileSystem.removeTree(folder) }
        let database = try StateDatabase(folder: StateFolder(path: "\(folder)/state"))
        try fill(database)
        let store = OperationStore(database: database, members: nil)
        let (ids, counters) = Self.manifest()

        let clock = ContinuousClock()
        var (reading, comparing) = (Duration.seconds(3600), Duration.seconds(3600))
        var (wanted, vanished) = (0, 0)
        let held = ResidentMemory.now
        ResidentMemory.forgetPeak()
        for round in 0..<Self.rounds {
            let begin = clock.now
            let before = try await database.read { try $0.peerOperationCounters(of: Self.keyID).count }
            reading = min(reading, clock.now - begin)
            // Only the first comparison finds operations to remove.
            let start = clock.now
            wanted = try await store.compare(ids: ids, counters: counters, of: Self.keyID).count
            let took = clock.now - start
            if round == 0 {
                let left = try await database.read { try $0.peerOperationCount(of: Self.keyID) }
                vanished = before - left
                print("\(vanished) operations removed, \(wanted) asked for, in \(Figure.seconds(took)) (goal < 10 s)")
            }
            comparing = min(comparing, took)
        }
        let peak = ResidentMemory.peak
        print("manifest of \(ids.count) operations, database of \(Self.operationCount + Self.otherCount)")
        print("  comparison, best of \(Self.rounds): \(Figure.seconds(comparing))")
        print("  beside reading ids and counters alone: \(Figure.ratio(comparing / reading)) times")
        print("  peak memory: \(peak >> 20) MiB (goal < 200), \(held >> 20) of it before, with the manifest itself")
        database.close()
    }

    /// Every hundredth changed since, and every hundredth not there any more; new ones behind.
    private static func manifest() -> (ids: [Int64], counters: [Int64]) {
        var ids: [Int64] = []
        var counters: [Int64] = []
        ids.reserveCapacity(Int(operationCount))
        counters.reserveCapacity(Int(operationCount))
        for id in 1...operationCount + operationCount / share where id > operationCount || id % share != 1 {
            ids.append(id)
            counters.append(id % share == 2 ? 2 : 1)
        }
        return (ids, counters)
    }

    private func fill(_ database: StateDatabase) throws {
        var next: Int64 = 1
        while next <= Self.operationCount {
            let ids = next..<min(next + 5000, Self.operationCount + 1)
            let records = ids.map { Self.record($0, of: Self.keyID) }
            let others = ids.filter { $0 % 10 == 0 }.map { Self.record($0, of: "ed25519.other") }
            try database.write { state in
                try state.put(records)
                try state.put(others)
            }
            next = ids.upperBound
        }
    }

    private static func record(_ id: Int64, of keyID: String) -> PeerOperationRecord {
        PeerOperationRecord(
            keyID: keyID, originalID: id, originalFlow: id - id % 2, counter: 1, kind: 100 + id % 2, status: 3,
            start: 1_700_000_000_000 + id * 1000, end: 1_700_000_000_500 + id * 1000, instance: "bench",
            repo: "repo", repoGUID: String(repeating: "0", count: 64), plan: "plan \(id % 5)", message: "",
            payload: [UInt8](repeating: UInt8(truncatingIfNeeded: id), count: 300))
    }
}
