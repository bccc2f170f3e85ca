import BackupFormats
import Platform
import Synchronization

/// Phase 2: chunks that are neither marked nor pinned go.
extension GarbageCollector {
    /// What is remembered of referenced chunks that are not there.
    private static let missingLimit = 10_000

    /// What the sweep of some folders found.
    struct SweepCounts {
        var diskBytes: Int64 = 0
        var diskChunks: Int64 = 0
        var removedBytes: Int64 = 0
        var removedChunks: Int64 = 0
        var removedBad: Int64 = 0
        var stillBad: Int64 = 0
        var temporaries: Int64 = 0
        var foreign: Int64 = 0
        /// Files and folders that could not be looked at or removed.
        var failures: Int64 = 0
        var folders: Int64 = 0
        var missing: [MarkKey] = []
        var missingCount = 0

        mutating func add(_ other: SweepCounts) {
            diskBytes += other.diskBytes
            diskChunks += other.diskChunks
            removedBytes += other.removedBytes
            removedChunks += other.removedChunks
            removedBad += other.removedBad
            stillBad += other.stillBad
            temporaries += other.temporaries
            foreign += other.foreign
            failures += other.failures
            folders += other.folders
            missing += other.missing.prefix(max(0, GarbageCollector.missingLimit - missing.count))
            missingCount += other.missingCount
        }

        mutating func addMissing(_ key: MarkKey) {
            missingCount += 1
            if missing.count < GarbageCollector.missingLimit { missing.append(key) }
        }
    }

    private final class Shared: Sendable {
        let counts = Mutex(SweepCounts())
    }

    /// - Returns: Referenced chunks that are not there.
    func sweep(_ status: inout CollectionStatus) throws -> (keys: [MarkKey], count: Int) {
        let (folders, foreign) = try listPrefixes()
        let shared = Shared()
        let tell = counter(of: MarkSet.blockCount, from: 0.5, to: 1) { _, percent in
            let counts = shared.counts.withLock { $0 }
            return "processed \(percent)% (\(counts.diskChunks + counts.removedChunks) chunks)"
        }
        let (_, duration) = try measured {
            try Threads.forEach(count: MarkSet.blockCount, width: width) { block in
                let counts = try self.sweep(block, folders)
                shared.counts.withLock { $0.add(counts) }
                tell()
            }
        }
        var counts = shared.counts.withLock { $0 }
        counts.foreign += foreign
        status.diskByteCount = counts.diskBytes
        status.diskChunkCount = counts.diskChunks
        status.removedByteCount = counts.removedBytes
        status.removedChunkCount = counts.removedChunks
        status.removedBadCount = counts.removedBad
        status.stillBadCount = counts.stillBad
        conclude(counts, duration)
        return (counts.missing, counts.missingCount)
    }

    private func conclude(_ counts: SweepCounts, _ duration: Duration) {
        let files = counts.diskChunks + counts.removedChunks
        observer.log(
            "swept \(files) chunks in \(counts.folders) folders \(CollectionText.rate(files, "chunks", in: duration))")
        if counts.temporaries > 0 {
            observer.log("removed \(counts.temporaries) files that interrupted writes had left")
        }
        if counts.foreign > 0 {
            observer.log("left \(counts.foreign) files alone that are no chunks")
        }
        if counts.failures > Int64(Self.lineLimit) {
            observer.warn("\(counts.failures) files and folders could not be checked or removed")
        }
    }

    /// The prefix folders that exist, and the number of other names beside them.
    private func listPrefixes() throws -> (folders: [Bool], foreign: Int64) {
        var folders = [Bool](repeating: false, count: 1 << 16)
        var foreign: Int64 = 0
        let isThere = try FolderLister().forEachEntry(of: store.layout.chunks) { entry in
            if let prefix = ChunkFileName.prefix(entry.name), entry.listedKind ?? .folder == .folder {
                folders[Int(prefix)] = true
            } else {
                foreign += 1
            }
        }
        guard isThere else {
            throw BackupFailure(.noSuchObject, "Folder \(store.layout.chunks) does not exist")
        }
        return (folders, foreign)
    }

    /// Sweeps the folders of one block: all prefixes that begin with the byte `block`.
    private func sweep(_ block: Int, _ folders: [Bool]) throws -> SweepCounts {
        var sweep = FolderSweep(self, try marks.take(block))
        for prefix in block << 8..<(block + 1) << 8 where folders[prefix] {
            try checkCancelled()
            try store.options.beforeStep(.collectFolder)
            try sweep.run(UInt16(prefix))
        }
        return sweep.finish()
    }

    /// A line about something that could not be looked at; only the first ones are told.
    func tellFailure(_ error: SystemError, _ counts: SweepCounts) {
        if counts.failures <= Int64(Self.lineLimit) { observer.warn("left alone: \(error)") }
    }
}
