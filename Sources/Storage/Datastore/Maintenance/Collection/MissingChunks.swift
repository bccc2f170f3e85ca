import BackupFormats
import Platform

/// Referenced chunks that are not there: they fail nothing, but somebody should know.
extension GarbageCollector {
    /// Says which indexes reference chunks that the sweep did not see.
    func tellMissing(_ missing: (keys: [MarkKey], count: Int), _ indexes: [IndexFinder.Found]) throws {
        guard missing.count > 0 else { return }
        let wanted = Set(missing.keys)
        var lines = 0
        var confirmed: Set<MarkKey> = []
        for index in indexes where lines < Self.lineLimit {
            try checkCancelled()
            var told: Set<MarkKey> = []
            // An index that was readable a moment ago and is gone now is no longer of interest.
            _ = try? IndexScan().scan(index.path) { entries, stride, digestOffset in
                for place in Swift.stride(from: digestOffset, to: entries.count, by: stride) {
                    let key = MarkKey(entries, at: place)
                    guard wanted.contains(key), !told.contains(key), lines < Self.lineLimit else { continue }
                    let digest = ChunkDigest(loading: UnsafeRawBufferPointer(rebasing: entries[place..<place + 32]))
                    // A backup may have brought it meanwhile.
                    guard try !store.chunks.hasFile(digest) else { continue }
                    told.insert(key)
                    confirmed.insert(key)
                    lines += 1
                    observer.warn("chunk \(digest) does not exist, and \(index.path) references it")
                }
            }
        }
        guard lines > 0 else { return }
        let count = lines < Self.lineLimit ? "\(confirmed.count)" : "up to \(missing.count)"
        observer.warn("\(count) referenced chunks do not exist: verify the snapshots, and back up or sync anew")
    }
}
