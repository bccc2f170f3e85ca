/// Gathers the bytes of an archive into large pieces. Contents are read right into it.
final class ArchiveOutput {
    /// Bytes of a piece.
    static let pieceSize = 1 << 20

    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceSize, alignment: 4096)
    private var filled = 0
    private let consume: (UnsafeRawBufferPointer) throws -> Void

    init(consume: @escaping (UnsafeRawBufferPointer) throws -> Void) {
        self.consume = consume
    }

    deinit { buffer.deallocate() }

    /// Appends `bytes` and empties them.
    func take(_ bytes: inout [UInt8]) throws {
        try bytes.withUnsafeBytes { source in
            var rest = source[...]
            while !rest.isEmpty {
                let space = try space(rest.count)
                space.copyMemory(from: UnsafeRawBufferPointer(rebasing: rest.prefix(space.count)))
                rest = rest.dropFirst(space.count)
                filled += space.count
            }
        }
        bytes.removeAll(keepingCapacity: true)
    }

    /// Room for at most `count` bytes, at least one of them.
    func space(_ count: Int) throws -> UnsafeMutableRawBufferPointer {
        if filled == buffer.count { try flush() }
        return UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<min(buffer.count, filled + count)])
    }

    /// Says that `count` bytes of the last room were filled.
    func filled(_ count: Int) {
        filled += count
    }

    func flush() throws {
        guard filled > 0 else { return }
        let count = filled
        filled = 0
        try consume(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
}
