import BackupFormats
import Platform
import Synchronization

/// Holds readers back, so that all together read so many bytes in a second. What was not used earlier is not made up for.
final class Pacer: Sendable {
    /// How long a reader sleeps before it looks whether it was stopped.
    private static let nap = Duration.milliseconds(100)

    private let bytesPerSecond: Double
    private let next = Mutex(ContinuousClock.now)

    init(bytesPerSecond: Int) { self.bytesPerSecond = Double(max(1, bytesPerSecond)) }

    /// Waits until the bytes that were read before are paid for. Blocks.
    func wait(isCancelled: () -> Bool) {
        while !isCancelled() {
            let left = next.withLock { ContinuousClock.now.duration(to: $0) }
            if left <= .zero { return }
            Threads.sleep(min(left, Self.nap))
        }
    }

    func spend(_ byteCount: Int) {
        let cost = Duration.seconds(Double(byteCount) / bytesPerSecond)
        next.withLock { $0 = max($0, ContinuousClock.now) + cost }
    }
}
