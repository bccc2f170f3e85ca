import BackupFormats

/// A hash table from digests to small values, without pointers: 36 bytes a place, at least three of four places used.
///
/// Invariants: a place is free where its value is 0; a run of taken places from a digest's first place on holds it.
/// Places are split over parts that grow on their own, so that growing never copies the whole.
struct DigestTable {
    /// The plain length in the lower bits, the origin above.
    struct Value {
        private static let lengthBits: UInt32 = 25

        let bits: UInt32

        init(bits: UInt32) { self.bits = bits }

        init(length: Int, origin: InUseSet.Origin) {
            precondition(length >= 0 && length < 1 << Self.lengthBits, "chunks are no longer than 16 MiB")
            bits = origin.rawValue << Self.lengthBits | UInt32(length)
        }

        var length: Int { Int(bits & (1 << Self.lengthBits - 1)) }
        var origin: InUseSet.Origin { InUseSet.Origin(rawValue: bits >> Self.lengthBits) ?? .copied }
    }

    private struct Part {
        var keys: [ChunkDigest] = []
        var values: [UInt32] = []
        var count = 0

        /// The place of a digest, or the free one where it would go; there must be a free place.
        func place(of digest: ChunkDigest, _ hash: UInt) -> Int {
            var index = Int(hash.multipliedFullWidth(by: UInt(keys.count)).high)
            while values[index] != 0, keys[index] != digest {
                index += 1
                if index == keys.count { index = 0 }
            }
            return index
        }

        mutating func grow(hash: (ChunkDigest) -> UInt) {
            var larger = Part()
            let capacity = max(8, keys.count * 6 / 5 + 1)
            larger.keys = Array(repeating: .zero, count: capacity)
            larger.values = Array(repeating: 0, count: capacity)
            larger.count = count
            for index in keys.indices where values[index] != 0 {
                let place = larger.place(of: keys[index], hash(keys[index]))
                larger.keys[place] = keys[index]
                larger.values[place] = values[index]
            }
            self = larger
        }
    }

    private static let partBits: UInt = 8

    private var parts = Array(repeating: Part(), count: 1 << Self.partBits)
    private(set) var count = 0

    /// Seeded for each process, so that chosen digests do not collide.
    private static func hash(_ digest: ChunkDigest) -> UInt { UInt(bitPattern: digest.hashValue) }

    /// The part, and the rest of the hash moved up for the place inside it.
    private static func split(_ hash: UInt) -> (part: Int, rest: UInt) {
        (Int(hash & (1 << partBits - 1)), hash)
    }

    subscript(_ digest: ChunkDigest) -> Value? {
        let (index, rest) = Self.split(Self.hash(digest))
        guard parts[index].count > 0 else { return nil }
        let bits = parts[index].values[parts[index].place(of: digest, rest)]
        return bits == 0 ? nil : Value(bits: bits)
    }

    mutating func update(_ digest: ChunkDigest, _ change: (Value?) -> Value) {
        let (index, rest) = Self.split(Self.hash(digest))
        // At most nine of ten places are taken.
        if (parts[index].count + 1) * 10 > parts[index].keys.count * 9 { parts[index].grow { Self.hash($0) } }
        let place = parts[index].place(of: digest, rest)
        let old = parts[index].values[place]
        parts[index].values[place] = change(old == 0 ? nil : Value(bits: old)).bits
        guard old == 0 else { return }
        parts[index].keys[place] = digest
        parts[index].count += 1
        count += 1
    }

    func forEach(_ body: (ChunkDigest, Value) -> Void) {
        for part in parts {
            for index in part.keys.indices where part.values[index] != 0 {
                body(part.keys[index], Value(bits: part.values[index]))
            }
        }
    }
}
