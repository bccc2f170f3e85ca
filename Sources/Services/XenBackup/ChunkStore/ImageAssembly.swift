import BackupClient
import BackupFormats
import VirtualDisks

/// Brings a disk into an image: two blocks of 2 MiB make a chunk of 4 MiB.
///
/// A block whose neighbour does not come is put into the base's chunk, which is read for that; in a whole disk its
/// neighbour is zeros. (Spec: xo-proxy §10.3.)
struct ImageAssembly: Sendable {
    private static let blockBytes = DiskGeometry.blockBytes
    private static let blocksPerChunk = 2

    let source: any DiskSource
    let image: ScatteredImage
    /// The base's content, where the source is a difference.
    let base: ImageReader?
    let stock: HalfStock

    /// - Returns: Blocks that came.
    func run() async throws -> Int {
        let blockCount = DiskGeometry.blockCount(image.size)
        var count = 0
        var isCompleted = false
        func note(_ index: Int) { if index / Self.blocksPerChunk == image.placeToComplete { isCompleted = true } }
        while let block = try await source.nextBlock() {
            guard block.index >= 0, block.index < blockCount, block.bytes.count == Self.blockBytes else {
                throw BackupFailure(.corruptData, "Block \(block.index) is none of a disk of \(image.size) bytes")
            }
            count += 1
            note(block.index)
            let neighbour = block.index ^ 1
            if neighbour >= blockCount {
                try await putAlone(block.index, block.bytes)
            } else if let other = try await stock.take(neighbour) {
                try await putPair(
                    block.index < neighbour ? (block.bytes, other) : (other, block.bytes), of: block.index)
            } else if source.willCome(neighbour) == false {
                try await putAlone(block.index, block.bytes)
            } else {
                try await stock.put(block.index, block.bytes)
            }
        }
        for index in await stock.waiting {
            if let bytes = try await stock.take(index) { try await putAlone(index, bytes) }
        }
        // The end of a base that was smaller: its last chunk goes on with zeros.
        if let place = image.placeToComplete, !isCompleted, let base {
            let byteCount = image.byteCount(of: place)
            try await image.put(place) { try await Self.chunk(place, of: base, byteCount: byteCount) }
        }
        return count
    }

    private func putPair(_ pair: ([UInt8], [UInt8]), of index: Int) async throws {
        let place = index / Self.blocksPerChunk
        let rest = image.byteCount(of: place) - Self.blockBytes
        try await image.put(place, [pair.0[...], pair.1.prefix(rest)])
    }

    private func putAlone(_ index: Int, _ bytes: [UInt8]) async throws {
        let place = index / Self.blocksPerChunk
        let byteCount = image.byteCount(of: place)
        let start = index % Self.blocksPerChunk * Self.blockBytes
        let own = bytes.prefix(byteCount - start)
        guard let base, place < base.chunkCount, own.count < byteCount else {
            let zeros = [UInt8](repeating: 0, count: byteCount - own.count)
            return try await image.put(place, start == 0 ? [own, zeros[...]] : [zeros[...], own])
        }
        try await image.put(place) {
            var chunk = try await Self.chunk(place, of: base, byteCount: byteCount)
            chunk.withUnsafeMutableBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + own.count]).copyBytes(from: own)
            }
            return chunk
        }
    }

    /// A chunk of the base in the length that it has now.
    private static func chunk(_ place: Int, of base: ImageReader, byteCount: Int) async throws -> [UInt8] {
        var chunk = try await base.chunk(place)
        if chunk.count < byteCount { chunk += [UInt8](repeating: 0, count: byteCount - chunk.count) }
        return chunk
    }
}
