/// The inner loop of ``Chunker``: finds the first position whose hash is
/// accepted, in a piece of memory that also holds the 64 bytes before it.
///
/// Two independent lanes keep the processor busy: the second starts in the
/// middle of a block with a hash of its own, warmed up over 64 bytes. The test
/// is arithmetic: `(h & mask) + 3` reaches the bit above the mask exactly for
/// the three accepted values; the results of eight positions are or-ed and
/// looked at once, and only a hit is gone through again. Measured at twice the
/// speed of a comparison for each byte; four lanes were slower.
struct RollingHashScan {
    /// Twice the average size: the bit above the mask.
    let limit: UInt32

    /// Bytes of one lane between two warm-ups.
    private static let laneSize = 16 << 10
    private static let group = 8

    @inline(__always)
    private func probe(_ hash: UInt32) -> UInt32 { (hash & (limit &- 1)) &+ 3 }

    @inline(__always)
    func accepts(_ hash: UInt32) -> Bool { probe(hash) & limit != 0 }

    @inline(__always)
    private func step(
        _ hash: UInt32, _ place: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt32>
    ) -> UInt32 {
        (hash << 1 | hash >> 31) ^ table[Int(place.pointee)] ^ table[Int((place - Chunker.windowSize).pointee)]
    }

    /// The offset behind the first accepted byte of `input[start..<end]`, or nil; then `hash` is that of the last byte.
    ///
    /// - Parameters:
    ///   - input: Readable from `start - 64` to `end`.
    ///   - hash: That of the byte before `start`.
    func firstAccepted(
        from start: Int, to end: Int, of input: UnsafePointer<UInt8>, table: UnsafePointer<UInt32>,
        hash: inout UInt32
    ) -> Int? {
        var offset = start
        while end - offset >= 2 * Self.group {
            let lane = min(Self.laneSize, (end - offset) / (2 * Self.group) * Self.group)
            if let cut = scanBlock(at: input + offset, lane: lane, table: table, hash: &hash) { return offset + cut }
            offset += 2 * lane
        }
        while offset < end {
            hash = step(hash, input + offset, table)
            offset += 1
            if accepts(hash) { return offset }
        }
        return nil
    }

    /// Scans two lanes of `lane` bytes, a multiple of eight.
    private func scanBlock(
        at start: UnsafePointer<UInt8>, lane: Int, table: UnsafePointer<UInt32>, hash: inout UInt32
    ) -> Int? {
        var first = hash
        var second: UInt32 = 0
        for place in lane - Chunker.windowSize..<lane {
            second = (second << 1 | second >> 31) ^ table[Int(start[place])]
        }
        var secondHit: Int?
        var offset = 0
        while offset < lane {
            let here = start + offset
            let there = here + lane
            let firstBefore = first
            let secondBefore = second
            var firstProbes: UInt32 = 0
            var secondProbes: UInt32 = 0
            // Spelled out: a loop of eight is not unrolled over both lanes.
            first = step(first, here, table); firstProbes |= probe(first)
            second = step(second, there, table); secondProbes |= probe(second)
            first = step(first, here + 1, table); firstProbes |= probe(first)
            second = step(second, there + 1, table); secondProbes |= probe(second)
            first = step(first, here + 2, table); firstProbes |= probe(first)
            second = step(second, there + 2, table); secondProbes |= probe(second)
            first = step(first, here + 3, table); firstProbes |= probe(first)
            second = step(second, there + 3, table); secondProbes |= probe(second)
            first = step(first, here + 4, table); firstProbes |= probe(first)
            second = step(second, there + 4, table); secondProbes |= probe(second)
            first = step(first, here + 5, table); firstProbes |= probe(first)
            second = step(second, there + 5, table); secondProbes |= probe(second)
            first = step(first, here + 6, table); firstProbes |= probe(first)
            second = step(second, there + 6, table); secondProbes |= probe(second)
            first = step(first, here + 7, table); firstProbes |= probe(first)
            second = step(second, there + 7, table); secondProbes |= probe(second)
            if (firstProbes | secondProbes) & limit != 0 {
                if firstProbes & limit != 0 { return offset + firstOfGroup(at: here, table, firstBefore) }
                if secondHit == nil { secondHit = lane + offset + firstOfGroup(at: there, table, secondBefore) }
            }
            offset += Self.group
        }
        hash = second
        return secondHit
    }

    private func firstOfGroup(
        at start: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt32>, _ before: UInt32
    ) -> Int {
        var hash = before
        for place in 0..<Self.group {
            hash = step(hash, start + place, table)
            if accepts(hash) { return place + 1 }
        }
        preconditionFailure("a group was reported whose positions are not accepted")
    }
}
