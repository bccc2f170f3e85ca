import Platform

/// Writes content in order and leaves out runs of zeros, which become holes.
struct SparseFile {
    /// Runs are judged in blocks of this size, aligned in the file.
    private static let blockSize: UInt64 = 4096

    let file: OpenNode
    private(set) var size: UInt64 = 0
    /// Up to here the file has been written; what follows was zeros.
    private var end: UInt64 = 0

    init(_ file: OpenNode) {
        self.file = file
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var start = 0
        var place = 0
        while place < bytes.count {
            let position = size + UInt64(place)
            let length = min(bytes.count - place, Int(Self.blockSize - position % Self.blockSize))
            let block = UnsafeRawBufferPointer(rebasing: bytes[place..<place + length])
            if Self.isZero(block) {
                try write(bytes, start..<place)
                start = place + length
            }
            place += length
        }
        try write(bytes, start..<bytes.count)
        size += UInt64(bytes.count)
    }

    /// Gives the file its full size where it ends in zeros.
    mutating func finish() throws(SystemError) {
        if end < size { try file.setSize(size) }
    }

    private mutating func write(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) throws(SystemError) {
        guard !range.isEmpty else { return }
        try file.write(UnsafeRawBufferPointer(rebasing: bytes[range]), at: size + UInt64(range.lowerBound))
        end = size + UInt64(range.upperBound)
    }

    private static func isZero(_ block: UnsafeRawBufferPointer) -> Bool {
        // Most blocks show it with their first byte.
        guard block[0] == 0, block[block.count - 1] == 0 else { return false }
        var place = 0
        while place + 8 <= block.count {
            if block.loadUnaligned(fromByteOffset: place, as: UInt64.self) != 0 { return false }
            place += 8
        }
        while place < block.count {
            if block[place] != 0 { return false }
            place += 1
        }
        return true
    }
}
