package import BackupFormats

/// A set of chunk digests that costs at most 44 bytes each, however many there are. (Decision 7.)
///
/// Digests lie in segments of fixed size, so that growing copies nothing and leaves little unused; an open-addressed
/// table of their positions, at most three quarters full, finds them.
package struct DigestSet: ~Copyable {
    private static let segmentCount = 4096
    private static let empty = UInt32.max
    /// Most digests that a set takes; the positions are 32 bits wide.
    package static let maxCount = 1 << 30

    private var segments: [ContiguousArray<ChunkDigest>] = []
    private var slots: [UInt32] = []
    package private(set) var count = 0

    package init() {}

    package func contains(_ digest: ChunkDigest) -> Bool {
        slots.isEmpty ? false : slots[slot(of: digest)] != Self.empty
    }

    /// - Throws: ``BackupFailure`` of kind `unsupported` where the set is full.
    package mutating func insert(_ digest: ChunkDigest) throws(BackupFailure) {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let slot = slot(of: digest)
        guard slots[slot] == Self.empty else { return }
        guard count < Self.maxCount else {
            throw BackupFailure(.unsupported, "one session cannot hold more than \(Self.maxCount) chunks")
        }
        if count.isMultiple(of: Self.segmentCount) {
            var segment = ContiguousArray<ChunkDigest>()
            segment.reserveCapacity(Self.segmentCount)
            segments.append(segment)
        }
        segments[segments.count - 1].append(digest)
        slots[slot] = UInt32(count)
        count += 1
    }

    private func digest(at position: UInt32) -> ChunkDigest {
        segments[Int(position) / Self.segmentCount][Int(position) % Self.segmentCount]
    }

    /// The slot that has `digest`, or the empty one where it belongs. Keyed by the seed of `Hasher`, since a client
    /// may choose digests.
    private func slot(of digest: ChunkDigest) -> Int {
        var slot = digest.hashValue & (slots.count - 1)
        while slots[slot] != Self.empty, self.digest(at: slots[slot]) != digest {
            slot = (slot + 1) & (slots.count - 1)
        }
        return slot
    }

    private mutating func grow() {
        slots = [UInt32](repeating: Self.empty, count: max(64, slots.count * 2))
        for position in 0..<UInt32(count) {
            var slot = digest(at: position).hashValue & (slots.count - 1)
            while slots[slot] != Self.empty { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = position
        }
    }
}
