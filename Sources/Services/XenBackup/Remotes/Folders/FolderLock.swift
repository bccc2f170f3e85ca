import BackupFormats
import Synchronization

/// A folder lock that is held, and touched until it is released.
final class FolderLock: RemoteLock {
    private let path: RemotePath
    private let place: LockPlace
    private let keeper: LockKeeper
    /// As it was touched last; nil once it is lost.
    private let last: Mutex<LockKeeper.Sight?>
    private let isReleased = Mutex(false)
    private let toucher = Mutex<Task<Void, Never>?>(nil)

    init(_ path: RemotePath, _ taken: LockKeeper.Taken, keeper: LockKeeper, timing: LockTiming) {
        self.path = path
        place = taken.place
        self.keeper = keeper
        last = Mutex(taken.sight)
        let task = Task(priority: .high) { [weak self] in
            while (try? await Task.sleep(for: timing.refresh)) != nil, let self { await self.refresh() }
        }
        toucher.withLock { $0 = task }
    }

    var isHeld: Bool { last.withLock { $0 != nil } }

    /// Touches it; sees whether it is lost. A remote that does not answer now may do so the next time.
    func refresh() async {
        guard let sight = last.withLock({ $0 }) else { return }
        do {
            let next = try await keeper.touch(path, last: sight)
            last.withLock { if $0 == sight { $0 = next } }
        } catch let failure as BackupFailure where failure.kind == .notFound {
            last.withLock { $0 = nil }
        } catch {}
    }

    func release() async {
        guard
            !isReleased.withLock({ value in
                defer { value = true }; return value
            })
        else { return }
        let task = toucher.withLock { $0 }
        task?.cancel()
        // Its last touch must not come between the look and the removal.
        await task?.value
        let sight = last.withLock { value in
            defer { value = nil }; return value
        }
        // Also where the caller was cancelled.
        await Task { [self] in await keeper.remove(self, path, place, last: sight) }.value
    }
}
