import BackupFormats

/// The first 16 bytes of a digest, as two little-endian words: enough to tell chunks apart. Two digests that agree in
/// them would keep each other's chunk, which only somebody who chooses digests of encrypted chunks can bring about.
struct MarkKey: Hashable, Sendable {
    static let byteCount = 16
    static let zero = MarkKey(SIMD2(0, 0))

    let words: SIMD2<UInt64>

    init(_ words: SIMD2<UInt64>) {
        self.words = words
    }

    /// Of a digest that starts at `offset`; there must be 16 bytes.
    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        words = SIMD2(
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)))
    }

    init(_ digest: ChunkDigest) {
        words = digest.firstWords
    }

    /// The first byte of the digest, which numbers the block that the key belongs to.
    @inline(__always)
    var block: Int { Int(words.x & 0xff) }
}

/// A set of keys by open addressing: 16 bytes a place, from three eighths to three quarters of the places taken.
///
/// Invariants: the capacity is 0 or a power of two; a place is free where its key is zero, which is therefore kept
/// beside the places; a run of taken places from a key's first place on holds it.
struct MarkTable {
    private static let firstCapacity = 64

    private var places: [SIMD2<UInt64>] = []
    private var hasZero = false
    /// One bit a place: the key was asked for. Empty until ``beginAsking()``.
    private var asked: [UInt64] = []
    private var zeroWasAsked = false
    private(set) var count = 0

    /// Bytes of the places.
    var byteCount: Int { places.count * MarkKey.byteCount }

    /// Seeded for each run, so that chosen digests do not make long runs.
    @inline(__always)
    private static func place(of key: MarkKey, _ seed: SIMD2<UInt64>, _ capacity: Int) -> Int {
        let mixed = key.words ^ seed
        let product = mixed.x.multipliedFullWidth(by: mixed.y)
        return Int(truncatingIfNeeded: product.high ^ product.low) & (capacity - 1)
    }

    /// The place of a key, or the free one where it would go; the capacity is not 0.
    @inline(__always)
    private static func find(
        _ key: MarkKey, in places: UnsafeBufferPointer<SIMD2<UInt64>>, _ seed: SIMD2<UInt64>
    ) -> Int {
        var index = place(of: key, seed, places.count)
        while places[index] != key.words, places[index] != MarkKey.zero.words {
            index = (index + 1) & (places.count - 1)
        }
        return index
    }

    /// - Returns: How many were new.
    mutating func insert(_ keys: UnsafeBufferPointer<MarkKey>, seed: SIMD2<UInt64>) -> Int {
        let before = count
        var next = 0
        while next < keys.count {
            // As many as fit without a look at the capacity.
            let room = places.count / 4 * 3 - count
            if room <= 0 {
                grow(seed)
                continue
            }
            let end = min(keys.count, next + room)
            var added = 0
            var sawZero = false
            places.withUnsafeMutableBufferPointer { places in
                for index in next..<end {
                    let key = keys[index]
                    if key == .zero {
                        sawZero = true
                        continue
                    }
                    let place = Self.find(key, in: UnsafeBufferPointer(places), seed)
                    if places[place] != key.words {
                        places[place] = key.words
                        added += 1
                    }
                }
            }
            if sawZero, !hasZero {
                hasZero = true
                added += 1
            }
            count += added
            next = end
        }
        return count - before
    }

    private mutating func grow(_ seed: SIMD2<UInt64>) {
        let old = places
        places = Array(repeating: MarkKey.zero.words, count: max(Self.firstCapacity, old.count * 2))
        places.withUnsafeMutableBufferPointer { places in
            for words in old where words != MarkKey.zero.words {
                places[Self.find(MarkKey(words), in: UnsafeBufferPointer(places), seed)] = words
            }
        }
    }

    func forEach(_ body: (MarkKey) -> Void) {
        if hasZero { body(.zero) }
        for words in places where words != MarkKey.zero.words { body(MarkKey(words)) }
    }

    // MARK: Asking

    /// From now on the table remembers which keys were asked for.
    mutating func beginAsking() { asked = Array(repeating: 0, count: (places.count + 63) / 64) }

    /// Whether the key is in the set.
    mutating func ask(_ key: MarkKey, seed: SIMD2<UInt64>) -> Bool {
        if key == .zero {
            zeroWasAsked = true
            return hasZero
        }
        guard !places.isEmpty else { return false }
        let place = places.withUnsafeBufferPointer { Self.find(key, in: $0, seed) }
        guard places[place] == key.words else { return false }
        asked[place >> 6] |= 1 << UInt64(place & 63)
        return true
    }

    /// As ``ask(_:seed:)``, without being remembered.
    func contains(_ key: MarkKey, seed: SIMD2<UInt64>) -> Bool {
        if key == .zero { return hasZero }
        guard !places.isEmpty else { return false }
        return places.withUnsafeBufferPointer { $0[Self.find(key, in: $0, seed)] == key.words }
    }

    /// The keys that nobody asked for.
    func forEachUnasked(_ body: (MarkKey) -> Void) {
        if hasZero, !zeroWasAsked { body(.zero) }
        for index in places.indices
        where places[index] != MarkKey.zero.words && asked[index >> 6] & 1 << UInt64(index & 63) == 0 {
            body(MarkKey(places[index]))
        }
    }
}
