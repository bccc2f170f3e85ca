/// A block as a VHD file holds it: a whole block, or some of its sectors.
package struct VHDBlock: Sendable, Equatable {
    package let index: Int
    /// ``DiskGeometry/blockBytes`` bytes; zeros where the sector is not there.
    package var bytes: [UInt8]
    /// Sectors that are there. In a dynamic disk the others are zeros, in a differencing disk they are the parent's.
    package var sectors: SectorBitmap

    package init(index: Int, bytes: [UInt8], sectors: SectorBitmap = .full) {
        self.index = index
        self.bytes = bytes
        self.sectors = sectors
    }

    /// Takes from an older block what is missing here.
    mutating func fill(from older: VHDBlock) {
        for run in sectors.runs(of: false) {
            let range = run.lowerBound * VHDLimits.sectorBytes..<run.upperBound * VHDLimits.sectorBytes
            bytes.replaceSubrange(range, with: older.bytes[range])
        }
        sectors.formUnion(older.sectors)
    }
}
