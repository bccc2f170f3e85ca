import BackupFormats

/// How a synchronisation deals with the network.
package struct SyncPolicy: Sendable {
    /// Chunks under way at once; at 16 MiB each they bound the memory of a copy.
    package var width = 12
    /// How often a snapshot is begun where the connection breaks.
    package var attempts = 3
    /// Before a snapshot is begun again, times the number of the attempt.
    package var pause: Duration = .seconds(2)
    /// Silence of the other side after which the connection counts as broken.
    package var patience: Duration = .seconds(300)

    package init() {}
}

/// Runs `work`, and fails where it takes longer than `limit`.
///
/// - Throws: ``BackupFailure`` of kind `unavailable` when the time is over; what `work` throws.
func within<Value: Sendable>(
    _ limit: Duration, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let value = first else {
            throw BackupFailure(.unavailable, "the other side has been silent for \(limit)")
        }
        return value
    }
}

/// Runs `work` for 0, 1, … `count - 1`, at most `width` at once, and ends with the first failure.
func side(by width: Int, count: Int, _ work: @escaping @Sendable (Int) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        var next = 0
        while next < count {
            if next >= width { _ = try await group.next() }
            let number = next
            group.addTask { try await work(number) }
            next += 1
        }
        try await group.waitForAll()
    }
}
