package import BackupFormats
import Synchronization

/// A clock that stands until a test moves it.
package final class ManualClock: Sendable {
    private let nanoseconds: Atomic<Int64>

    /// - Parameter seconds: Unix seconds at which it stands.
    package init(seconds: Int64 = 1_717_200_000) {
        nanoseconds = Atomic(seconds * 1_000_000_000)
    }

    package var source: TimeSource { TimeSource { self.nanoseconds.load(ordering: .relaxed) } }

    package var seconds: Int64 { nanoseconds.load(ordering: .relaxed) / 1_000_000_000 }

    package func advance(seconds: Int64) {
        nanoseconds.wrappingAdd(seconds * 1_000_000_000, ordering: .relaxed)
    }
}
