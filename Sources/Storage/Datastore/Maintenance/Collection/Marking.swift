import BackupFormats
import Platform
import Synchronization

/// Phase 1: the digests of all indexes go into the set.
extension GarbageCollector {
    private struct Totals {
        var next = 0
        var files: Int64 = 0
        var logicalBytes: UInt64 = 0
        var references: Int64 = 0
        var tableBytes: Int64 = 0
    }

    private final class Shared: Sendable {
        let totals = Mutex(Totals())
        let isStopped = Atomic(false)
    }

    /// - Returns: The indexes, biggest first.
    func mark(_ status: inout CollectionStatus) throws -> [IndexFinder.Found] {
        let found = try findIndexes()
        let shared = Shared()
        let tell = counter(of: found.count, from: 0, to: 0.5) { done, percent in
            "marked \(percent)% (\(done) of \(found.count) index files)"
        }
        let threads = max(1, min(width, ProcessInformation.processorCount, found.count))
        let (_, duration) = try measured {
            try Threads.forEach(count: threads, width: threads) { _ in
                do { try self.work(found, shared, tell) } catch {
                    shared.isStopped.store(true, ordering: .relaxed)
                    throw error
                }
            }
        }
        let totals = shared.totals.withLock { $0 }
        status.indexFileCount = totals.files
        status.indexDataByteCount = Int64(clamping: totals.logicalBytes)
        let figures = marks.figures
        observer.log(
            "marked \(totals.references) references \(CollectionText.rate(totals.references, "references", in: duration)),"
                + " \(CollectionText.bytes(totals.tableBytes)) of indexes read,"
                + " \(figures.count) chunks in \(CollectionText.bytes(Int64(figures.byteCount))) of memory")
        return found
    }

    private func findIndexes() throws -> [IndexFinder.Found] {
        var finder = IndexFinder {
            try self.checkCancelled()
            try self.store.options.beforeStep(.collectWalk)
        }
        try finder.search(store.layout.root)
        let strange = finder.found.filter { !$0.isInSnapshot }
        for index in strange.prefix(Self.lineLimit) {
            observer.warn("index \(index.path) lies outside of all snapshots; its chunks are kept")
        }
        if strange.count > Self.lineLimit {
            observer.warn("\(strange.count - Self.lineLimit) more indexes lie outside of all snapshots")
        }
        return finder.found.sorted { ($1.byteCount, $0.path) < ($0.byteCount, $1.path) }
    }

    private func work(_ found: [IndexFinder.Found], _ shared: Shared, _ tell: () -> Void) throws {
        let scan = IndexScan()
        let batch = MarkBatch(marks) {
            try self.checkCancelled()
            try self.spillIfNeeded()
        }
        while !shared.isStopped.load(ordering: .relaxed) {
            let next = shared.totals.withLock { totals -> Int? in
                guard totals.next < found.count else { return nil }
                defer { totals.next += 1 }
                return totals.next
            }
            guard let next else { break }
            try checkCancelled()
            try store.options.beforeStep(.collectIndex)
            let read = try scan.scan(found[next].path) { entries, stride, digestOffset in
                try self.checkCancelled()
                try batch.add(entries, stride: stride, digestOffset: digestOffset)
            }
            if let read {
                shared.totals.withLock { totals in
                    totals.files += 1
                    totals.logicalBytes &+= read.size
                    totals.references += Int64(read.count)
                    totals.tableBytes += Int64(found[next].byteCount)
                }
            }
            tell()
        }
        try batch.flush()
    }

    private func spillIfNeeded() throws {
        guard marks.isOverLimit else { return }
        do {
            if let written = try marks.spillOver(beforeWrite: { try self.store.options.beforeStep(.collectSpill) }) {
                observer.log("wrote \(CollectionText.bytes(Int64(written))) of marks to the disk")
            }
        } catch let error as SystemError {
            observer.warn("marks cannot be written to the disk and stay in memory: \(error)")
        }
    }
}
