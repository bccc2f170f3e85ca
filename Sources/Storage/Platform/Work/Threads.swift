import Glibc
import Synchronization

/// Threads of the operating system, for work that blocks.
package enum Threads {
    /// Runs `body` for 0, 1, … `count - 1` on up to `width` threads, one of them the caller's, and returns when all
    /// are done. After the first failure no further pieces are begun; that failure is thrown.
    package static func forEach(count: Int, width: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
        let next = Atomic(0)
        let progress = Monitor(Progress())
        let work = Work {
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if index >= count { break }
                if progress.withLock({ $0.failure != nil }) { break }
                do { try body(index) } catch {
                    progress.withLock { $0.failure = $0.failure ?? error }
                }
            }
        }
        let helpers = max(0, min(width, count) - 1)
        var started = 0
        for _ in 0..<helpers
        where start({
            work.body(); progress.withLock(wake: true) { $0.ended += 1 }
        }) { started += 1 }
        work.body()
        let failure = progress.wait { [started] in $0.ended == started ? .some($0.failure) : nil }
        if let failure { throw failure }
    }

    /// Blocks the calling thread for so long; a signal may end it early.
    package static func sleep(_ duration: Duration) {
        guard duration > .zero else { return }
        var time = timespec()
        time.tv_sec = Int(clamping: duration.components.seconds)
        time.tv_nsec = Int(clamping: duration.components.attoseconds / 1_000_000_000)
        nanosleep(&time, nil)
    }

    /// Starts a detached thread; false where the system has none left.
    static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        let box = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            box.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    private struct Progress {
        var failure: (any Error)?
        var ended = 0
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
