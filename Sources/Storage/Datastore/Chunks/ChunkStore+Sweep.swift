import BackupFormats
import Platform

/// What the sweep of garbage collection does to single files; each call holds the lock of the chunk's prefix.
extension ChunkStore {
    enum SweepOutcome {
        case removed(byteCount: Int)
        case kept(FileStatus)
        case gone
    }

    /// Removes a chunk's file that no index references, unless a session relies on the chunk.
    func removeUnlessPinned(_ digest: ChunkDigest, _ entry: FolderEntry) throws -> SweepOutcome {
        try withLock(digest) {
            guard let status = try entry.status() else { return .gone }
            guard status.kind == .file, !pins.isPinned(digest) else { return .kept(status) }
            try options.beforeStep(.collectRemove)
            return try entry.remove() ? .removed(byteCount: status.byteCount) : .gone
        }
    }

    /// Removes a chunk that was set aside, unless the chunk is wanted and has not been brought again.
    ///
    /// - Parameter isMarked: Whether an index references the chunk.
    func removeBad(_ path: String, of digest: ChunkDigest, isMarked: Bool) throws -> SweepOutcome {
        try withLock(digest) {
            guard let status = try FileSystem.status(path, followsLinks: false) else { return .gone }
            guard status.kind == .file else { return .kept(status) }
            if isMarked || pins.isPinned(digest), try !FileSystem.exists(self.path(of: digest)) { return .kept(status) }
            try options.beforeStep(.collectRemove)
            return try FileSystem.removeFile(path) ? .removed(byteCount: status.byteCount) : .gone
        }
    }

    /// Removes what an interrupted write of a chunk has left.
    ///
    /// - Returns: Whether it is gone.
    func removeTemporary(
        _ entry: FolderEntry, of digest: ChunkDigest, ifStale isStale: (FileStatus) -> Bool
    ) throws -> Bool {
        try withLock(digest) {
            guard let status = try entry.status(), status.kind == .file, isStale(status) else { return false }
            return try entry.remove()
        }
    }

    func hasFile(_ digest: ChunkDigest) throws -> Bool { try FileSystem.exists(path(of: digest)) }
}
