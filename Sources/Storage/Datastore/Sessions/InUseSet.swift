package import BackupFormats
import Synchronization

/// The chunks that one session relies on: garbage collection keeps them, whatever the disk says. (Design decision 4.)
///
/// It is the session's map of known chunks as well: a digest is *known*, and may be appended to an index, once it was
/// uploaded in the session or read from the base by `previous`. Digests copied by `reuse-csum` are pinned, not known.
/// A digest costs at most 48 bytes, once there are more than a few thousand.
package final class InUseSet: Sendable {
    /// How a digest came into the set. A later, stronger origin replaces a weaker one.
    package enum Origin: UInt32, Comparable, Sendable {
        /// About to be inserted, or copied from the base's index in place; not known.
        case copied = 1
        /// From an index fetched by `previous`.
        case previous = 2
        /// Uploaded, and in the store before.
        case duplicate = 3
        /// Uploaded, and written as a new file by this session.
        case written = 4

        package static func < (left: Origin, right: Origin) -> Bool { left.rawValue < right.rawValue }
    }

    /// Digests that a check takes into memory at once.
    static let batchLimit = 1 << 20

    private let table = Mutex(DigestTable())

    package init() {}

    /// Puts a digest into the set *before* it is relied on.
    ///
    /// - Parameter length: The plain length, at most 16 MiB.
    package func pin(_ digest: ChunkDigest, length: Int, origin: Origin) {
        let new = DigestTable.Value(length: length, origin: origin)
        table.withLock { table in
            table.update(digest) { old in
                guard let old else { return new }
                if origin == .copied { return old }
                return DigestTable.Value(length: length, origin: max(old.origin, origin))
            }
        }
    }

    /// The plain length of a known chunk; nil for digests that may not be appended.
    package func knownLength(of digest: ChunkDigest) -> Int? {
        table.withLock { table in
            table[digest].flatMap { $0.origin > .copied ? $0.length : nil }
        }
    }

    package func contains(_ digest: ChunkDigest) -> Bool { table.withLock { $0[digest] != nil } }

    package var count: Int { table.withLock { $0.count } }

    /// Calls `body` for each digest with its plain length, in no order.
    func forEach(_ body: (ChunkDigest, Int) -> Void) {
        table.withLock { table in table.forEach { body($0, $1.length) } }
    }

    /// Puts everything into another set as well, as far as it is known here.
    package func copy(to other: InUseSet) {
        let known = table.withLock { table in
            var known: [(ChunkDigest, Int)] = []
            table.forEach { digest, value in if value.origin > .copied { known.append((digest, value.length)) } }
            return known
        }
        for (digest, length) in known { other.pin(digest, length: length, origin: .previous) }
    }

    /// Calls `body` with all digests that the session did not write itself, sorted, in batches of limited size; each
    /// digest once. (Design decision 5.)
    func forEachUnwritten(_ body: ([ChunkDigest]) throws -> Void) throws {
        let passes = table.withLock { $0.count } / Self.batchLimit + 1
        for pass in 0..<passes {
            // Digests are spread evenly, so ranges of prefixes make batches of about the same size.
            let range = pass * 65536 / passes..<(pass + 1) * 65536 / passes
            var batch = table.withLock { table in
                var digests: [ChunkDigest] = []
                table.forEach { digest, value in
                    if value.origin != .written, range.contains(Int(digest.prefix)) { digests.append(digest) }
                }
                return digests
            }
            batch.sort()
            if !batch.isEmpty { try body(batch) }
        }
    }
}
