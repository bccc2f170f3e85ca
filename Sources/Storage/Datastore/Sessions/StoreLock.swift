import Synchronization

/// A lock of the registry; it is given up by ``release()`` or when the value goes.
package final class StoreLock: Sendable {
    private let giveUp: @Sendable () -> Void
    private let isReleased = Atomic(false)

    init(_ giveUp: @escaping @Sendable () -> Void) {
        self.giveUp = giveUp
    }

    /// The second call does nothing.
    package func release() {
        if !isReleased.exchange(true, ordering: .acquiringAndReleasing) { giveUp() }
    }

    deinit { release() }
}
