import BackupFormats
import Platform
import Synchronization

/// What the check of one chunk found.
enum ChunkFinding: Sendable {
    /// Encoded bytes read.
    case good(Int)
    /// - Parameter file: The inode of the file that is to be set aside; nil where it is missing, or the index is wrong.
    case damaged(String, file: UInt64?)
}

/// Reads and checks many chunks: files in the order of their inodes, which is about that on the disk; a few threads read,
/// others decode and digest, and parcels of bounded number go from these to those.
final class ChunkChecker: Sendable {
    /// Bytes of one parcel of small chunks: enough that handing it over costs nothing beside the work.
    private static let parcelByteCount = 1 << 20
    /// Less than this is checked by the caller's thread alone.
    private static let smallBatch = 2 << 20
    /// Looking for files waits for the disk rather than for the processor.
    private static let lookupThreads = 8
    /// Places that one thread looks up before it asks for more.
    private static let lookupPiece = 512

    private let chunks: ChunkStore
    private let effort: VerifyEffort
    private let isCancelled: @Sendable () -> Bool
    private let pacer: Pacer?
    /// Parcels that nobody uses, with their memory.
    private let shelf = Mutex<[ChunkParcel]>([])

    init(_ chunks: ChunkStore, effort: VerifyEffort, isCancelled: @escaping @Sendable () -> Bool) {
        self.chunks = chunks
        self.effort = effort
        self.isCancelled = isCancelled
        pacer = effort.bytesPerSecond.map { Pacer(bytesPerSecond: $0) }
    }

    /// Checks each entry and tells what was found, on any thread and in any order. Blocks.
    ///
    /// - Throws: ``BackupFailure``: `cancelled`, `unavailable`, what `tell` throws; then some were not told.
    func check(
        _ batch: [IndexEntry], isEncrypted: Bool, tell: @escaping @Sendable (IndexEntry, ChunkFinding) throws -> Void
    ) throws {
        let entries = try inDiskOrder(batch)
        let width = effort.readThreads + effort.verifyThreads
        let work = Monitor(Work(entryCount: entries.count, parcelLimit: width + effort.verifyThreads))
        let isSmall = entries.reduce(0) { $0 + min($1.length, Self.smallBatch) } < Self.smallBatch
        // Every thread does what is to be done next, so that any number of them comes to the end.
        try Threads.forEach(count: isSmall ? 1 : width, width: width) { _ in
            try self.work(on: entries, isEncrypted, work, tell)
        }
    }

    private func inDiskOrder(_ batch: [IndexEntry]) throws -> [IndexEntry] {
        guard effort.readsInDiskOrder else { return batch }
        let inodes = Monitor([UInt64](repeating: .max, count: batch.count))
        try Threads.forEach(
            count: (batch.count + Self.lookupPiece - 1) / Self.lookupPiece, width: Self.lookupThreads
        ) { piece in
            let range = piece * Self.lookupPiece..<min(batch.count, (piece + 1) * Self.lookupPiece)
            // What cannot be looked up is told by whoever reads it.
            let found = batch[range].map { (try? self.chunks.inode(of: $0.digest)) ?? .max }
            inodes.withLock { $0.replaceSubrange(range, with: found) }
        }
        let found = inodes.withLock { $0 }
        return batch.indices.sorted { found[$0] < found[$1] }.map { batch[$0] }
    }

    // MARK: Threads

    /// What the threads share. A parcel is on the shelf, with a reader, in `full`, or with a checker.
    private struct Work {
        let entryCount: Int
        let parcelLimit: Int
        /// The first entry that nobody reads yet.
        var next = 0
        var readers = 0
        var checkers = 0
        var full: [ChunkParcel] = []
        var hasFailed = false

        var parcels: Int { readers + checkers + full.count }
        var isDone: Bool { hasFailed || (next == entryCount && parcels == 0) }
    }

    private enum Step {
        case read(Range<Int>), check(ChunkParcel), stop
    }

    private func work(
        on entries: [IndexEntry], _ isEncrypted: Bool, _ work: Monitor<Work>,
        _ tell: @Sendable (IndexEntry, ChunkFinding) throws -> Void
    ) throws {
        do {
            while true {
                if isCancelled() { throw BackupFailure(.cancelled, "The verification was stopped") }
                switch work.wait(until: { nextStep(&$0, entries) }) {
                case .stop: return
                case .read(let range):
                    pacer?.wait(isCancelled: isCancelled)
                    let parcel = shelf.withLock { $0.popLast() } ?? ChunkParcel()
                    let byteCount = parcel.fill(entries[range], from: chunks)
                    pacer?.spend(byteCount)
                    work.withLock(wake: true) { work in
                        work.readers -= 1
                        work.full.append(parcel)
                    }
                case .check(let parcel):
                    try parcel.check(isEncrypted: isEncrypted, tell)
                    shelf.withLock { $0.append(parcel) }
                    work.withLock(wake: true) { $0.checkers -= 1 }
                }
            }
        } catch {
            work.withLock(wake: true) { $0.hasFailed = true }
            throw error
        }
    }

    /// Checking goes first, so that parcels come back.
    private func nextStep(_ work: inout Work, _ entries: [IndexEntry]) -> Step? {
        if work.isDone { return .stop }
        if !work.full.isEmpty, work.checkers < effort.verifyThreads {
            work.checkers += 1
            return .check(work.full.removeFirst())
        }
        guard work.next < work.entryCount, work.readers < effort.readThreads, work.parcels < work.parcelLimit else {
            return nil
        }
        let start = work.next
        var byteCount = 0
        repeat {
            byteCount += entries[work.next].length
            work.next += 1
        } while work.next < work.entryCount && byteCount + entries[work.next].length <= Self.parcelByteCount
        work.readers += 1
        return .read(start..<work.next)
    }
}
