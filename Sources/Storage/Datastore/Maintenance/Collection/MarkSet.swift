import BackupFormats
import Platform
import Synchronization

/// The digests that indexes reference, gathered by several threads: 256 tables, one for each first byte of a digest,
/// which are the blocks that the sweep takes one by one.
///
/// A chunk costs at most 43 bytes (16 at three eighths of the places), a table that grows half as much again for a
/// moment. Above the limit all tables are written to a file, unless the disk has no room: then the limit is exceeded,
/// since collecting garbage is what makes room.
final class MarkSet: Sendable {
    static let blockCount = 256
    /// Keys that are read back at once.
    private static let pieceCount = 1 << 16

    private final class Block: Sendable {
        let table = Mutex(MarkTable())
    }

    /// What was written at one time: of each block, where its keys start and how many there are.
    private struct Run {
        let file: OpenFile
        var ranges: [(offset: Int, count: Int)] = []
    }

    private struct Spill {
        var runs: [Run] = []
        /// Why nothing more can be written.
        var failure: (any Error)?
    }

    private let blocks = (0..<MarkSet.blockCount).map { _ in Block() }
    private let seed: SIMD2<UInt64>
    private let limit: Int
    private let makeFile: @Sendable () throws -> OpenFile
    private let memory = Atomic(0)
    private let spill = Mutex(Spill())

    /// - Parameters:
    ///   - limit: Bytes of all tables together.
    ///   - makeFile: Makes an empty file for what does not fit.
    init(limit: Int, seed: SIMD2<UInt64>, makeFile: @escaping @Sendable () throws -> OpenFile) {
        self.limit = limit
        self.seed = seed
        self.makeFile = makeFile
    }

    /// Puts keys of one block into the set.
    func insert(_ keys: UnsafeBufferPointer<MarkKey>, block: Int) {
        let grown = blocks[block].table.withLock { table in
            let before = table.byteCount
            _ = table.insert(keys, seed: seed)
            return table.byteCount - before
        }
        if grown > 0 { memory.wrappingAdd(grown, ordering: .relaxed) }
    }

    var isOverLimit: Bool { memory.load(ordering: .relaxed) > limit }

    /// Writes all keys to a new file and forgets them, if the set is still above the limit. Other threads may insert
    /// meanwhile; those above the limit wait.
    ///
    /// - Returns: Bytes written; nil where there was nothing to do.
    /// - Throws: What writing throws, once; then the set goes on in memory.
    func spillOver(beforeWrite: () throws -> Void) throws -> Int? {
        try spill.withLock { spill in
            guard isOverLimit, spill.failure == nil else { return nil }
            do {
                var run = Run(file: try makeFile())
                defer { spill.runs.append(run) }
                var offset = 0
                for block in blocks {
                    try block.table.withLock { table in
                        var bytes: [UInt8] = []
                        bytes.reserveCapacity(table.count * MarkKey.byteCount)
                        table.forEach { key in
                            bytes.appendLittleEndian(key.words.x)
                            bytes.appendLittleEndian(key.words.y)
                        }
                        try beforeWrite()
                        try run.file.write(bytes, at: offset)
                        run.ranges.append((offset, table.count))
                        offset += bytes.count
                        memory.wrappingSubtract(table.byteCount, ordering: .relaxed)
                        table = MarkTable()
                    }
                }
                return offset
            } catch {
                spill.failure = error
                throw error
            }
        }
    }

    /// Takes one block out of the set, with what was written of it.
    func take(_ block: Int) throws -> MarkTable {
        var table = blocks[block].table.withLock { table in
            defer { table = MarkTable() }
            return table
        }
        for run in spill.withLock({ $0.runs }) where block < run.ranges.count {
            let (start, count) = run.ranges[block]
            for first in stride(from: 0, to: count, by: Self.pieceCount) {
                let wanted = min(Self.pieceCount, count - first)
                let bytes = try run.file.read(
                    at: start + first * MarkKey.byteCount, count: wanted * MarkKey.byteCount)
                guard bytes.count == wanted * MarkKey.byteCount else {
                    throw BackupFailure(.internalFault, "The file of spilled digests is shorter than it was")
                }
                let keys = bytes.withUnsafeBytes { bytes in
                    (0..<wanted).map { MarkKey(bytes, at: $0 * MarkKey.byteCount) }
                }
                keys.withUnsafeBufferPointer { _ = table.insert($0, seed: seed) }
            }
        }
        table.beginAsking()
        return table
    }

    /// Whether a table that was taken has the key.
    func ask(_ table: inout MarkTable, _ key: MarkKey) -> Bool { table.ask(key, seed: seed) }

    func contains(_ table: MarkTable, _ key: MarkKey) -> Bool { table.contains(key, seed: seed) }

    /// Keys in memory, and the bytes of all tables.
    var figures: (count: Int, byteCount: Int) {
        (blocks.reduce(0) { $0 + $1.table.withLock { $0.count } }, memory.load(ordering: .relaxed))
    }
}
