import Synchronization

/// Bytes per second, shared by all that read through it.
final class RateLimit: Sendable {
    /// What may go at once after a pause.
    private static let burst = Duration.milliseconds(250)

    private let bytesPerSecond: Int
    private let free: Mutex<ContinuousClock.Instant>

    /// - Parameter bytesPerSecond: 0 is no limit.
    init(bytesPerSecond: Int) {
        self.bytesPerSecond = bytesPerSecond
        free = Mutex(.now)
    }

    /// Waits until so many bytes may go.
    func spend(_ byteCount: Int) async throws {
        guard bytesPerSecond > 0 else { return }
        let cost = Duration.seconds(Double(byteCount) / Double(bytesPerSecond))
        let instant = free.withLock { free in
            free = max(free, .now - Self.burst) + cost
            return free
        }
        guard instant > .now else { return try Task.checkCancellation() }
        try await Task.sleep(until: instant)
    }
}
