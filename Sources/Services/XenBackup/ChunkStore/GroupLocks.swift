import BackupFormats
import Synchronization

/// Locks by name within this process, for work that takes long; who finds one taken waits for a while.
final class GroupLocks: Sendable {
    /// Between two looks at a lock that somebody else has.
    private static let pause: Duration = .milliseconds(100)

    private let taken = Mutex<Set<String>>([])

    /// - Throws: ``BackupFailure`` of kind `conflict` with the words that administrators know, when patience is over.
    func take(_ name: String, patience: Duration) async throws -> GroupLock {
        let end = ContinuousClock.now + patience
        while !taken.withLock({ $0.insert(name).inserted }) {
            guard ContinuousClock.now < end else {
                throw BackupFailure(
                    .conflict, "Lock file is already being held",
                    hints: ["Another job works on this machine's backups: let it end, or schedule them apart."])
            }
            try await Task.sleep(for: Self.pause)
        }
        return GroupLock(name: name, locks: self)
    }

    fileprivate func giveBack(_ name: String) { taken.withLock { _ = $0.remove(name) } }
}

/// A lock that is held until ``release()``, or until the value goes.
final class GroupLock: Sendable {
    private let name: String
    private let locks: Mutex<GroupLocks?>

    fileprivate init(name: String, locks: GroupLocks) {
        self.name = name
        self.locks = Mutex(locks)
    }

    deinit { release() }

    /// The second call does nothing.
    func release() { locks.withLock { $0.take() }?.giveBack(name) }
}
