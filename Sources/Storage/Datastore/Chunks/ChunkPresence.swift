import BackupFormats
import Platform

extension ChunkStore {
    /// Digests that one thread looks for before it asks for more.
    private static let piece = 1024

    /// Those of `digests` that the store lacks. They are looked for in order, so sort them, on several threads.
    func missing(of digests: [ChunkDigest]) throws -> [ChunkDigest] {
        let found = Monitor<[ChunkDigest]>([])
        let pieces = (digests.count + Self.piece - 1) / Self.piece
        try Threads.forEach(count: pieces, width: Self.lookupThreads) { number in
            let range = number * Self.piece..<min(digests.count, (number + 1) * Self.piece)
            for digest in digests[range] where try self.byteCount(of: digest) == nil {
                found.withLock { $0.append(digest) }
            }
        }
        return found.withLock { $0 }.sorted()
    }

    /// The inode of a chunk's file; nil where the store lacks it.
    func inode(of digest: ChunkDigest) throws -> UInt64? {
        try storing("Chunk \(digest) cannot be looked up") {
            try FileSystem.status(path(of: digest), followsLinks: false)?.inode
        }
    }

    /// Looking for files waits for the disk rather than for the processor.
    private static let lookupThreads = 8
}
