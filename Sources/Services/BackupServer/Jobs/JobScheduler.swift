package import BackupFormats
package import Logging
package import Platform

/// Wakes at each full minute and has the minute's work done: jobs that are due, measurements, a look at what is overdue.
package struct JobScheduler: Sendable {
    /// Minutes between two looks at all groups.
    private static let alertInterval: Int64 = 10
    /// Seconds by which a clock must jump to be worth a line in the log.
    private static let notedJump: Int64 = 60

    private let time: TimeSource
    private let workers: WorkerPool
    private let log: Logger
    private let everyMinute: [(name: String, work: @Sendable () throws -> Void)]
    private let sometimes: [(name: String, work: @Sendable () throws -> Void)]

    /// - Parameters:
    ///   - everyMinute: Blocking work for each minute, in this order.
    ///   - sometimes: The same for every tenth minute.
    package init(
        time: TimeSource, workers: WorkerPool, log: Logger,
        everyMinute: [(name: String, work: @Sendable () throws -> Void)],
        sometimes: [(name: String, work: @Sendable () throws -> Void)]
    ) {
        self.time = time
        self.workers = workers
        self.log = log
        self.everyMinute = everyMinute
        self.sometimes = sometimes
    }

    /// Runs until it is cancelled: what is done sometimes is done at once, all else from the next minute on. A clock that jumps delays it by a minute at most.
    package func run() async {
        await work(sometimes)
        var seen = (wall: time.seconds, steady: ContinuousClock.now)
        while !Task.isCancelled {
            let now = time.nanoseconds()
            let minute: Int64 = 60_000_000_000
            do { try await Task.sleep(for: .nanoseconds(minute - now % minute)) } catch { return }
            let (wall, steady) = (time.seconds, ContinuousClock.now)
            let jump = wall - seen.wall - (steady - seen.steady).components.seconds
            if abs(jump) > Self.notedJump {
                log.warning("the clock was set", metadata: ["seconds": "\(jump)"])
            }
            seen = (wall, steady)
            let isTenth = (time.seconds / 60).isMultiple(of: Self.alertInterval)
            await work(everyMinute + (isTenth ? sometimes : []))
        }
    }

    private func work(_ all: [(name: String, work: @Sendable () throws -> Void)]) async {
        for (name, work) in all {
            do { try await workers.run(work) } catch {
                log.error("the work of a minute failed", metadata: ["work": "\(name)", "reason": "\(error)"])
            }
        }
    }
}
