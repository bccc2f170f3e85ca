import BackupFormats

/// A set of digests that only grows, at most about 20 bytes each: it keeps their first 16 bytes, and two digests that
/// share these do not happen.
///
/// Invariants: a place is free where it is zero; a run of taken places from a digest's first place on holds it. Places
/// are split over parts that grow on their own, so that growing never copies the whole.
struct DigestSet {
    private typealias Key = SIMD2<UInt64>

    private struct Part {
        var keys: [Key] = []
        var count = 0

        /// The place of a key, or the free one where it would go; there must be a free place.
        func place(of key: Key, _ hash: UInt) -> Int {
            var index = Int(hash.multipliedFullWidth(by: UInt(keys.count)).high)
            while keys[index] != .zero, keys[index] != key {
                index += 1
                if index == keys.count { index = 0 }
            }
            return index
        }

        mutating func grow() {
            let old = keys
            keys = Array(repeating: .zero, count: max(8, old.count * 6 / 5 + 1))
            for key in old where key != .zero { keys[place(of: key, DigestSet.hash(key))] = key }
        }
    }

    private static let partCount = 256

    private var parts = Array(repeating: Part(), count: Self.partCount)
    private(set) var count = 0

    /// Seeded for each process, so that chosen digests do not collide.
    private static func hash(_ key: Key) -> UInt { UInt(bitPattern: key.hashValue) }

    private static func key(_ digest: ChunkDigest) -> Key {
        withUnsafeBytes(of: digest) { $0.loadUnaligned(as: Key.self) }
    }

    func contains(_ digest: ChunkDigest) -> Bool {
        let key = Self.key(digest)
        let hash = Self.hash(key)
        let part = Int(hash % UInt(Self.partCount))
        guard parts[part].count > 0, key != .zero else { return false }
        return parts[part].keys[parts[part].place(of: key, hash)] == key
    }

    /// - Returns: Whether it was new. Half a digest of zeros is taken for new each time.
    @discardableResult
    mutating func insert(_ digest: ChunkDigest) -> Bool {
        let key = Self.key(digest)
        guard key != .zero else { return true }
        let hash = Self.hash(key)
        let part = Int(hash % UInt(Self.partCount))
        // At most nine of ten places are taken.
        if (parts[part].count + 1) * 10 > parts[part].keys.count * 9 { parts[part].grow() }
        let place = parts[part].place(of: key, hash)
        guard parts[part].keys[place] == .zero else { return false }
        parts[part].keys[place] = key
        parts[part].count += 1
        count += 1
        return true
    }
}
