/// Finds out what need not be stored.
enum ZeroBytes {
    static func isZero(_ bytes: [UInt8]) -> Bool { isZero(bytes, 0..<bytes.count) }

    /// Whether all bytes of `range`, which lies within `bytes`, are zero.
    static func isZero(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var offset = range.lowerBound
            while offset + 32 <= range.upperBound {
                let first = buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                let second = buffer.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
                let third = buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self)
                let fourth = buffer.loadUnaligned(fromByteOffset: offset + 24, as: UInt64.self)
                if first | second | third | fourth != 0 { return false }
                offset += 32
            }
            while offset < range.upperBound {
                if buffer[offset] != 0 { return false }
                offset += 1
            }
            return true
        }
    }
}
