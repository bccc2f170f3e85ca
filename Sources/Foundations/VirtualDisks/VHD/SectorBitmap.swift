/// Which sectors of a block are there: 4096 bits, the first sector in the top bit of the first byte.
package struct SectorBitmap: Sendable, Equatable {
    package static let sectorCount = DiskGeometry.blockBytes / VHDLimits.sectorBytes
    package static let byteCount = sectorCount / 8
    package static let full = SectorBitmap(bytes: [UInt8](repeating: 0xff, count: byteCount))
    package static let empty = SectorBitmap(bytes: [UInt8](repeating: 0, count: byteCount))

    package private(set) var bytes: [UInt8]

    private init(bytes: [UInt8]) { self.bytes = bytes }

    /// From its bytes in a file; nil for any other count.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    package subscript(sector: Int) -> Bool {
        get { bytes[sector / 8] & 0x80 >> (sector % 8) != 0 }
        set {
            if newValue {
                bytes[sector / 8] |= 0x80 >> (sector % 8)
            } else {
                bytes[sector / 8] &= ~(0x80 >> (sector % 8))
            }
        }
    }

    /// Whether the first `count` sectors are all there: the sectors of a short last block.
    package func isFull(_ count: Int = sectorCount) -> Bool {
        let whole = count / 8
        guard bytes[..<whole].allSatisfy({ $0 == 0xff }) else { return false }
        return count % 8 == 0 || bytes[whole] & Self.mask(count % 8) == Self.mask(count % 8)
    }

    /// Whether none of the first `count` sectors is there.
    package func isEmpty(_ count: Int = sectorCount) -> Bool {
        let whole = count / 8
        guard bytes[..<whole].allSatisfy({ $0 == 0 }) else { return false }
        return count % 8 == 0 || bytes[whole] & Self.mask(count % 8) == 0
    }

    package mutating func formUnion(_ other: SectorBitmap) {
        for index in bytes.indices { bytes[index] |= other.bytes[index] }
    }

    /// The runs of sectors that are there, or those that are not.
    package func runs(of value: Bool = true) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var start: Int?
        for sector in 0..<Self.sectorCount {
            if self[sector] == value {
                if start == nil { start = sector }
            } else if let begun = start {
                runs.append(begun..<sector)
                start = nil
            }
        }
        if let begun = start { runs.append(begun..<Self.sectorCount) }
        return runs
    }

    private static func mask(_ count: Int) -> UInt8 { ~(0xff >> UInt8(count)) }
}
