import BackupFormats
import Platform
import Synchronization

/// Chunks that have arrived for snapshots which a synchronisation could not finish: garbage collection keeps them, so
/// that the next run finds them. (Design decision 4, resume lists.)
///
/// A list is written to `.cairn/resume` when its synchronisation fails, read again when the store is opened, and goes
/// when the snapshot is complete or after ``lifetimeSeconds``. After a crash in the middle of a synchronisation there is
/// none: then a garbage collection before the next run may cost the transfer again, and nothing else.
package final class ArrivalBook: Sendable {
    /// How long a list waits for its next run: 14 days.
    package static let lifetimeSeconds: Int64 = 14 * 86400
    /// Lists that are kept; the oldest goes for a new one.
    package static let maxLists = 256
    private static let magic = "cairn-resume-1"
    private static let recordByteCount = ChunkDigest.byteCount + 4
    private static let fileLimit = 1 << 30

    private struct List {
        let set: InUseSet
        var time: Int64
    }

    private let folder: String
    private let owner: FileOwner
    private let pins: PinBoard
    private let time: TimeSource
    private let lists = Mutex<[String: List]>([:])

    init(folder: String, owner: FileOwner, pins: PinBoard, time: TimeSource) {
        self.folder = folder
        self.owner = owner
        self.pins = pins
        self.time = time
    }

    /// The set for what arrives for a snapshot, with what arrived in earlier runs.
    ///
    /// - Parameter key: Names the snapshot; one line.
    package func open(_ key: String) -> InUseSet {
        expire()
        let now = time.seconds
        return lists.withLock { lists in
            if let list = lists[key] {
                lists[key]?.time = now
                return list.set
            }
            let set = pins.makeSet()
            lists[key] = List(set: set, time: now)
            return set
        }
    }

    /// Writes the list down for a later run; an empty one is forgotten.
    package func keep(_ key: String) throws {
        guard let list = lists.withLock({ $0[key] }) else { return }
        guard list.set.count > 0 else { return forget(key) }
        var bytes = Array("\(Self.magic)\n\(key)\n\(list.time)\n".utf8)
        list.set.forEach { digest, length in
            digest.append(to: &bytes)
            bytes.appendLittleEndian(UInt32(length))
        }
        try storing("What has arrived for \(key) cannot be written down") {
            try owner.makeFolder(folder, mode: StoreLayout.privateMode)
            try AtomicFile.replace(path(key), with: bytes, owner: owner.toGive)
        }
    }

    /// The snapshot is complete, or nobody wants it any more.
    package func forget(_ key: String) {
        let list = lists.withLock { $0.removeValue(forKey: key) }
        if let list { pins.end(list.set) }
        // A file that cannot be removed now is read and expires later.
        _ = try? FileSystem.removeFile(path(key))
    }

    /// Snapshots for which something has arrived.
    package var keys: [String] { lists.withLock { $0.keys.sorted() } }

    private func path(_ key: String) -> String { "\(folder)/\(ChunkDigest(hashing: key.utf8))" }

    /// Forgets the lists that have waited too long.
    func expire() {
        let limit = time.seconds - Self.lifetimeSeconds
        let old = lists.withLock { lists in
            var old = lists.filter { $0.value.time < limit }.map(\.key)
            if lists.count - old.count >= Self.maxLists {
                old += lists.sorted { $0.value.time < $1.value.time }.prefix(lists.count - Self.maxLists + 1).map(\.key)
            }
            return Set(old)
        }
        for key in old { forget(key) }
    }

    // MARK: Reading

    /// Reads the lists of earlier processes; those that cannot be understood are removed.
    func load() throws {
        for name in try listIfPresent(folder) {
            let path = "\(folder)/\(name)"
            guard let bytes = try FileSystem.readIfPresent(path, limit: Self.fileLimit),
                let (key, list) = parse(bytes), list.time >= time.seconds - Self.lifetimeSeconds
            else {
                try FileSystem.removeFile(path)
                continue
            }
            lists.withLock { $0[key] = list }
        }
    }

    private func parse(_ bytes: [UInt8]) -> (key: String, List)? {
        var lines: [String] = []
        var start = 0
        for (offset, byte) in bytes.prefix(StageNote.limit).enumerated() where byte == UInt8(ascii: "\n") {
            lines.append(String(decoding: bytes[start..<offset], as: UTF8.self))
            start = offset + 1
            if lines.count == 3 { break }
        }
        guard lines.count == 3, lines[0] == Self.magic, let time = Int64(lines[2]) else { return nil }
        let set = pins.makeSet()
        var reader = ByteReader(bytes.span.extracting(start..<bytes.count))
        while reader.remaining >= Self.recordByteCount {
            guard let digest = try? ChunkDigest(from: &reader), let length: UInt32 = try? reader.read(),
                length <= BlobLimits.maxChunkContent
            else { break }
            set.pin(digest, length: Int(length), origin: .copied)
        }
        return (lines[1], List(set: set, time: time))
    }
}
