import BackupFormats
import Synchronization

/// A lock among the users of one server, for remotes that can hold none themselves.
final class ProcessLock: RemoteLock {
    /// How often somebody who waits looks.
    private static let poll = Duration.milliseconds(200)
    private static let held = Mutex<Set<String>>([])

    private let place: String
    private let isReleased = Mutex(false)

    private init(_ place: String) { self.place = place }

    /// - Throws: ``BackupFailure`` of kind `conflict` as folder locks do.
    static func take(_ place: String, patience: Duration) async throws -> ProcessLock {
        let clock = ContinuousClock()
        let end = clock.now + patience
        while !held.withLock({ $0.insert(place).inserted }) {
            guard clock.now < end else { throw LockKeeper.isHeldElsewhere(place) }
            try await clock.sleep(for: min(poll, end - clock.now))
        }
        return ProcessLock(place)
    }

    var isHeld: Bool { !isReleased.withLock { $0 } }

    func release() async {
        guard
            !isReleased.withLock({ value in
                defer { value = true }; return value
            })
        else { return }
        Self.held.withLock { _ = $0.remove(place) }
    }
}
