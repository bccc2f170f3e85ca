import BackupFormats
import Platform

/// Sweeps prefix folders of one block, one after the other.
struct FolderSweep {
    /// Seconds after which a temporary file is taken for the rest of an interrupted write. Ours are written under the
    /// lock that the sweep holds; this is for other software that has used the store.
    private static let temporaryAge: Int64 = 86_400

    private let collector: GarbageCollector
    private let chunks: ChunkStore
    private let lister = FolderLister()
    private var marked: MarkTable
    private var counts = GarbageCollector.SweepCounts()
    /// Files set aside in the folder that is being swept; they are decided about when it has been listed.
    private var bad: [(digest: ChunkDigest, name: String)] = []

    init(_ collector: GarbageCollector, _ marked: consuming MarkTable) {
        self.collector = collector
        chunks = collector.store.chunks
        self.marked = marked
    }

    mutating func run(_ prefix: UInt16) throws {
        let path = "\(collector.store.layout.chunks)/\(prefixName(prefix))"
        counts.folders += 1
        do {
            _ = try lister.forEachEntry(of: path) { entry in
                do { try sweep(entry, prefix) } catch let error as SystemError { note(error) }
            }
        } catch let error as SystemError {
            note(error)
        }
        for (digest, name) in bad {
            do { try sweepBad("\(path)/\(name)", digest) } catch let error as SystemError { note(error) }
        }
        bad = []
    }

    /// What was found, with the marked chunks that were not.
    mutating func finish() -> GarbageCollector.SweepCounts {
        marked.forEachUnasked { counts.addMissing($0) }
        return counts
    }

    private mutating func note(_ error: SystemError) {
        counts.failures += 1
        collector.tellFailure(error, counts)
    }

    private mutating func sweep(_ entry: FolderEntry, _ prefix: UInt16) throws {
        let name = ChunkFileName(entry.name)
        guard let digest = name.digest, digest.prefix == prefix else {
            counts.foreign += 1
            return
        }
        switch name.kind {
        case .chunk: try sweepChunk(entry, digest)
        case .bad: bad.append((digest, entry.text ?? ""))
        case .temporary, .using: try sweepTemporary(entry, digest, isAlwaysStale: name.kind == .using)
        case .foreign: counts.foreign += 1
        }
    }

    private mutating func sweepChunk(_ entry: FolderEntry, _ digest: ChunkDigest) throws {
        if collector.marks.ask(&marked, MarkKey(digest)) {
            guard let status = try entry.status() else { return }
            keep(status)
            return
        }
        switch try chunks.removeUnlessPinned(digest, entry) {
        case .removed(let byteCount):
            counts.removedChunks += 1
            counts.removedBytes += Int64(byteCount)
        case .kept(let status): keep(status)
        case .gone: break
        }
    }

    private mutating func keep(_ status: FileStatus) {
        if status.kind == .file {
            counts.diskChunks += 1
            counts.diskBytes += Int64(status.byteCount)
        } else {
            counts.foreign += 1
        }
    }

    /// A chunk set aside stays as long as the chunk is wanted and nobody has uploaded it again.
    private mutating func sweepBad(_ path: String, _ digest: ChunkDigest) throws {
        let isMarked = collector.marks.contains(marked, MarkKey(digest))
        switch try chunks.removeBad(path, of: digest, isMarked: isMarked) {
        case .removed(let byteCount):
            counts.removedBad += 1
            counts.removedBytes += Int64(byteCount)
        case .kept(let status):
            if status.kind == .file {
                counts.stillBad += 1
                counts.diskBytes += Int64(status.byteCount)
            } else {
                counts.foreign += 1
            }
        case .gone: break
        }
    }

    private mutating func sweepTemporary(_ entry: FolderEntry, _ digest: ChunkDigest, isAlwaysStale: Bool) throws {
        let now = collector.store.options.time.seconds
        let isRemoved = try chunks.removeTemporary(entry, of: digest) { status in
            // Clocks jump: what comes from the future is no younger.
            isAlwaysStale || abs(now - status.modified) > Self.temporaryAge
        }
        if isRemoved { counts.temporaries += 1 }
    }
}
