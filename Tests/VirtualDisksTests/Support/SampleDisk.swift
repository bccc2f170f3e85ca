import BackupFormats
import CairnTestSupport
import Foundation
import Synchronization
import Testing
import VirtualDisks

/// A disk in memory, blocks that were never set being absent.
struct SampleDisk: DiskView, Equatable {
    let size: UInt64
    private(set) var blocks: [Int: [UInt8]] = [:]

    init(size: UInt64) { self.size = size }

    /// With recognisable content in the blocks of `present`, zeros behind the end of the disk.
    init(size: UInt64, present: [Int], seed: UInt64) {
        self.size = size
        for index in present { self[index] = Sample.block(seed: seed &+ UInt64(index), disk: size, index: index) }
    }

    subscript(index: Int) -> [UInt8] {
        get { blocks[index] ?? [UInt8](repeating: 0, count: DiskGeometry.blockBytes) }
        set { blocks[index] = newValue }
    }

    /// The same content in a disk of another size; what is behind its end is lost.
    func resized(to size: UInt64) -> SampleDisk {
        var disk = SampleDisk(size: size)
        for (index, bytes) in blocks where index < DiskGeometry.blockCount(size) {
            disk[index] = Sample.trimmed(bytes, disk: size, index: index)
        }
        return disk
    }

    /// This disk with the blocks of `other` laid over it, and its size.
    func overlaid(with other: SampleDisk) -> SampleDisk {
        var disk = resized(to: other.size)
        for (index, bytes) in other.blocks { disk[index] = bytes }
        return disk
    }

    static func == (left: SampleDisk, right: SampleDisk) -> Bool {
        left.size == right.size && left.blocks.count == right.blocks.count
            && left.blocks.allSatisfy { index, bytes in right.blocks[index].map { isSame($0, bytes) } ?? false }
    }

    func presentBlocks() async throws -> [Int] { blocks.keys.sorted() }

    func block(_ index: Int) async throws -> [UInt8] { self[index] }

    /// All bytes.
    var raw: [UInt8] {
        var bytes: [UInt8] = []
        for index in 0..<DiskGeometry.blockCount(size) { bytes += self[index] }
        bytes.removeLast(bytes.count - Int(size))
        return bytes
    }
}

enum Sample {
    static let uuid = DiskUUID(parsing: "01234567-89ab-cdef-0123-456789abcdef")!
    static let otherUUID = DiskUUID(parsing: "fedcba98-7654-3210-fedc-ba9876543210")!

    /// Bytes that tell every place of a block from every other: a random run of prime length, over and over.
    static func block(seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        let run = random.bytes(4099)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(DiskGeometry.blockBytes + run.count)
        while bytes.count < DiskGeometry.blockBytes { bytes += run }
        bytes.removeLast(bytes.count - DiskGeometry.blockBytes)
        return bytes
    }

    static func block(seed: UInt64, disk size: UInt64, index: Int) -> [UInt8] {
        trimmed(block(seed: seed), disk: size, index: index)
    }

    /// With zeros behind the end of the disk.
    static func trimmed(_ bytes: [UInt8], disk size: UInt64, index: Int) -> [UInt8] {
        let start = UInt64(index) * UInt64(DiskGeometry.blockBytes)
        let used = start >= size ? 0 : Int(min(size - start, UInt64(DiskGeometry.blockBytes)))
        return Array(bytes[..<used]) + [UInt8](repeating: 0, count: bytes.count - used)
    }
}

/// Compares much faster than `==` does where nothing is optimised.
func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count
        && left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                guard let first = left.baseAddress, let second = right.baseAddress else { return true }
                return memcmp(first, second, left.count) == 0
            }
        }
}

/// Gives bytes in pieces of random length, cut anywhere.
final class SlicedSource: ByteSource {
    private let bytes: [UInt8]
    private let longest: Int
    private let state: Mutex<(position: Int, random: SeededRandom)>

    init(_ bytes: [UInt8], longest: Int, seed: UInt64) {
        self.bytes = bytes
        self.longest = longest
        state = Mutex((0, SeededRandom(seed: seed)))
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        state.withLock { state in
            guard state.position < bytes.count else { return nil }
            let wanted = Int.random(in: 1...min(longest, maxBytes), using: &state.random)
            let end = min(bytes.count, state.position + wanted)
            defer { state.position = end }
            return Array(bytes[state.position..<end])
        }
    }
}

/// Everything that a source gives.
func collect(_ source: any ByteSource, upTo maxBytes: Int = 1 << 20) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let piece = try await source.read(upTo: maxBytes) {
        #expect(!piece.isEmpty && piece.count <= maxBytes)
        bytes += piece
    }
    return bytes
}

/// The blocks that a source gives, as a disk.
func collect(_ source: any DiskSource) async throws -> SampleDisk {
    var disk = SampleDisk(size: source.size)
    while let block = try await source.nextBlock() {
        #expect(disk.blocks[block.index] == nil, "block \(block.index) comes twice")
        #expect(block.bytes.count == DiskGeometry.blockBytes)
        disk[block.index] = block.bytes
    }
    return disk
}
