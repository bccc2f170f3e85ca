/// The unit in which disks are read, compared and sent: 2 MiB, the block of a VHD.
package enum DiskGeometry {
    package static let blockBytes = 2 << 20

    /// Blocks of a disk of `size` bytes; the last may be short.
    package static func blockCount(_ size: UInt64) -> Int { Int((size + UInt64(blockBytes) - 1) / UInt64(blockBytes)) }
}

/// One block of a disk.
package struct DiskBlock: Sendable {
    /// Offset in the disk divided by ``DiskGeometry/blockBytes``.
    package let index: Int
    /// Always ``DiskGeometry/blockBytes`` bytes; the disk's last block is filled up with zeros.
    package let bytes: [UInt8]

    package init(index: Int, bytes: [UInt8]) {
        self.index = index
        self.bytes = bytes
    }
}

/// A disk that arrives once, block by block, in any order: an export of a host. Asked by one reader at a time.
package protocol DiskSource: Sendable {
    /// Virtual size in bytes.
    var size: UInt64 { get }
    /// Whether blocks that do not come are those of the base; otherwise they are zeros.
    var isDifferencing: Bool { get }
    /// The next block, each index at most once; nil after the last, when the source has proved to be whole.
    func nextBlock() async throws -> DiskBlock?
    /// Whether this block is among those that come (or have come), where the source knows that before its end; nil
    /// where it does not know. Who puts two blocks into one chunk need not wait for a block that does not come.
    func willCome(_ index: Int) -> Bool?
}

extension DiskSource {
    package func willCome(_ index: Int) -> Bool? { nil }
}

/// A disk that can be read at any place, any number of times, by several readers: what a backup holds.
package protocol DiskView: Sendable {
    /// Virtual size in bytes.
    var size: UInt64 { get }
    /// Blocks that may hold something else than zeros, ascending.
    func presentBlocks() async throws -> [Int]
    /// The content of a block, always ``DiskGeometry/blockBytes`` bytes; zeros where it is not present.
    func block(_ index: Int) async throws -> [UInt8]
}
