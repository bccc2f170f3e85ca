import BackupFormats
import Platform
import Synchronization

/// One garbage collection: marks what indexes reference, then removes the chunks that neither a mark nor a session holds.
/// (Design decision 4; spec: formats §9.9.)
///
/// It trusts no clock: a chunk that a session relies on is pinned before it is looked for, and is asked for under the
/// lock of its prefix before it is removed. So space comes back in the same run. Stopping it at any point leaves
/// nothing to repair; only chunks are removed, each by one call, and nothing needs room on the disk.
final class GarbageCollector: Sendable {
    /// Lines about one kind of thing, before they are only counted.
    static let lineLimit = 100
    /// A line about the progress at most so often, and one for each percent.
    private static let lineInterval = Duration.seconds(1)

    private struct Progress {
        var done = 0
        var lastLine: ContinuousClock.Instant
        var lastPercent = 0
    }

    let store: Datastore
    let observer: CollectionObserver
    let width: Int
    let marks: MarkSet
    private let task: String
    private let clock = ContinuousClock()

    init(_ store: Datastore, task: String, width: Int, observer: CollectionObserver) throws {
        self.store = store
        self.task = task
        self.width = width
        self.observer = observer
        let path = store.layout.spilled
        let seed = try SystemRandom.bytes(MarkKey.byteCount)
        marks = MarkSet(
            limit: store.options.collectionMemory, seed: seed.withUnsafeBytes { MarkKey($0, at: 0).words }
        ) {
            try FileSystem.removeFile(path)
            let file = try OpenFile(path, .makeNew(mode: 0o600))
            // Nameless from now on: it goes with the last reference, or with the process.
            try FileSystem.removeFile(path)
            return file
        }
    }

    func run() throws -> CollectionStatus {
        var status = CollectionStatus()
        status.task = task
        store.arrivals.expire()
        observer.log("Start GC phase1 (mark used chunks)")
        let marked = try mark(&status)
        observer.log("Start GC phase2 (sweep unused chunks)")
        let missing = try sweep(&status)
        try tellMissing(missing, marked)
        for line in status.summary { observer.log(line) }
        store.collections.note(status)
        write(status)
        return status
    }

    func checkCancelled() throws {
        if observer.isCancelled() {
            throw BackupFailure(.cancelled, "The garbage collection of datastore \(store.name) was stopped")
        }
    }

    /// The time that `body` takes.
    func measured<Value>(_ body: () throws -> Value) rethrows -> (Value, Duration) {
        let start = clock.now
        return (try body(), start.duration(to: clock.now))
    }

    /// What is to be called when one of `total` pieces of work is done; all of them take the progress from `start` to `end`.
    func counter(
        of total: Int, from start: Double, to end: Double,
        _ line: @escaping @Sendable (_ done: Int, _ percent: Int) -> String
    ) -> @Sendable () -> Void {
        let progress = Mutex(Progress(lastLine: clock.now))
        let (observer, clock) = (observer, clock)
        let counting = Counting(progress)
        return {
            counting.progress.withLock { progress in
                progress.done += 1
                observer.progress(start + (end - start) * Double(progress.done) / Double(max(1, total)))
                let now = clock.now
                let percent = progress.done * 100 / max(1, total)
                let isDue = percent > progress.lastPercent && progress.lastLine.duration(to: now) >= Self.lineInterval
                guard isDue || progress.done == total else { return }
                progress.lastLine = now
                progress.lastPercent = percent
                observer.log(line(progress.done, percent))
            }
        }
    }

    private final class Counting: Sendable {
        let progress: Mutex<Progress>
        init(_ progress: consuming sending Mutex<Progress>) { self.progress = progress }
    }

    /// Where the disk has no room for the figures, they are kept in memory.
    private func write(_ status: CollectionStatus) {
        do {
            try store.options.beforeStep(.collectStatus)
            try AtomicFile.replace(
                store.layout.collectionStatus, with: Array(JSONValue.object(status.json).compactText.utf8),
                mode: StoreLayout.fileMode, owner: store.owner.toGive)
        } catch {
            observer.warn("the figures could not be written to \(store.layout.collectionStatus): \(error)")
        }
    }
}

extension CollectionLease {
    /// Threads that sweep, at least: unlinking waits for the disk rather than for the processor.
    private static let sweepWidth = 4

    /// Collects the garbage and gives up the lease.
    ///
    /// - Parameters:
    ///   - task: The UPID for the figures.
    ///   - width: Threads.
    /// - Throws: ``BackupFailure``: `corruptData` where an index is damaged and `unavailable` or another kind where
    ///   a folder or an index cannot be read, with its path and with nothing removed; `cancelled`.
    package func collect(
        task: String, width: Int = max(sweepWidth, ProcessInformation.processorCount),
        observer: CollectionObserver = CollectionObserver()
    ) throws -> CollectionStatus {
        defer { release() }
        return try storing("Garbage of datastore \(store.name) cannot be collected") {
            try GarbageCollector(store, task: task, width: width, observer: observer).run()
        }
    }
}
