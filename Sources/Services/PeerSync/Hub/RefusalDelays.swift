import Synchronization

/// Holds refusals back, the longer the more of them an address had lately.
final class RefusalDelays: Sendable {
    /// Addresses that are remembered at once.
    private static let maxAddresses = 10_000
    /// Refusals after which they are held back by another unit, and the most units.
    private static let step = 20
    private static let maxFactor = 5
    /// After so long without a refusal an address is forgotten.
    private static let memory = Duration.seconds(600)

    private let unit: Duration
    private struct Record {
        var count: Int
        var last: ContinuousClock.Instant
    }
    private let records = Mutex<[String: Record]>([:])

    init(unit: Duration) { self.unit = unit }

    /// Counts a refusal.
    ///
    /// - Returns: How long it is to be held back.
    func delay(_ address: String, now: ContinuousClock.Instant = .now) -> Duration {
        let count = records.withLock { records in
            if records.count >= Self.maxAddresses, records[address] == nil {
                records = records.filter { now - $0.value.last < Self.memory }
                // All of them are fresh: then one that is drawn from the table makes room.
                if records.count >= Self.maxAddresses, let some = records.keys.first { records[some] = nil }
            }
            var record = records[address] ?? Record(count: 0, last: now)
            if now - record.last >= Self.memory { record.count = 0 }
            record.count += 1
            record.last = now
            records[address] = record
            return record.count
        }
        return unit * min(Self.maxFactor, 1 + count / Self.step)
    }
}
