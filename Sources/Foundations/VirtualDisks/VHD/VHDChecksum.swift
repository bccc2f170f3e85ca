/// The checksum of a footer or header: the one's complement of the sum of its bytes, without the checksum itself.
enum VHDChecksum {
    /// - Parameter offset: Where the four bytes of the checksum lie.
    static func compute(_ bytes: [UInt8], fieldAt offset: Int) -> UInt32 {
        var sum: UInt32 = 0
        for byte in bytes { sum &+= UInt32(byte) }
        for byte in bytes[offset..<offset + 4] { sum &-= UInt32(byte) }
        return ~sum
    }

    static func write(into bytes: inout [UInt8], at offset: Int) {
        let value = compute(bytes, fieldAt: offset)
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)) }
    }
}
