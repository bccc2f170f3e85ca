/// The two variable-length integers of catalogs: 7 bits a byte, lowest first, bit 7 on all bytes
/// but the last. (Spec: formats §8.3.)
package enum Varint {
    /// Bytes of the longest unsigned one.
    package static let maxUnsignedByteCount = 10
    /// Bytes of the longest signed one: a negative number ends with a byte of its own.
    package static let maxSignedByteCount = 11

    package static func append(_ value: UInt64, to output: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(rest))
    }

    /// A negative number is its magnitude with bit 7 on every byte, then a zero byte.
    package static func append(signed value: Int64, to output: inout [UInt8]) {
        guard value < 0 else { return append(UInt64(value), to: &output) }
        var rest = value.magnitude
        while rest > 0 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(0)
    }

    /// - Throws: ``FormatError``: cut short, more than 10 bytes, or above 2^64 − 1.
    package static func read(_ reader: inout ByteReader) throws(FormatError) -> UInt64 {
        let start = reader.offset
        var value: UInt64 = 0
        for index in 0..<maxUnsignedByteCount {
            let byte: UInt8 = try reader.read()
            try add(byte, index, to: &value, start)
            if byte < 0x80 { return value }
        }
        throw .invalid("number of more than \(maxUnsignedByteCount) bytes", offset: start)
    }

    /// - Throws: ``FormatError``: cut short, more than 11 bytes, or outside of what 64 bits hold.
    package static func readSigned(_ reader: inout ByteReader) throws(FormatError) -> Int64 {
        let start = reader.offset
        var value: UInt64 = 0
        for index in 0..<maxSignedByteCount {
            let byte: UInt8 = try reader.read()
            if byte == 0 {
                guard value <= Int64.min.magnitude else { throw .invalid("number out of range", offset: start) }
                return Int64(truncatingIfNeeded: 0 &- value)
            }
            try add(byte, index, to: &value, start)
            if byte < 0x80 {
                guard let result = Int64(exactly: value) else { throw .invalid("number out of range", offset: start) }
                return result
            }
        }
        throw .invalid("number of more than \(maxSignedByteCount) bytes", offset: start)
    }

    private static func add(_ byte: UInt8, _ index: Int, to value: inout UInt64, _ start: Int) throws(FormatError) {
        let bits = UInt64(byte & 0x7f)
        guard index < 9 || bits <= 1 && index == 9 else { throw .invalid("number out of range", offset: start) }
        value |= bits << UInt64(7 * index)
    }
}
