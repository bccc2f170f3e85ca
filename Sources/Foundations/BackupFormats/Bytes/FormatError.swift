/// Bytes or text that break a format: what was wrong, and at which offset.
///
/// Every parser of the foundations throws this type and nothing else. Offsets
/// count bytes from the start of what the parser was given.
package enum FormatError: Error, Equatable, Sendable {
    /// The input ended inside a field of `needed` bytes.
    case truncated(offset: Int, needed: Int, available: Int)
    /// No known format has these first eight bytes (read as little-endian).
    case unknownMagic(UInt64, offset: Int)
    /// A length field announces more than the named limit allows.
    case tooLong(UInt64, limit: Int, offset: Int)
    /// A stored CRC-32 does not fit the bytes that it covers.
    case checksumMismatch(stored: UInt32, computed: UInt32)
    /// Anything else; `reason` is a short sentence without the offset.
    case invalid(String, offset: Int)
}

extension FormatError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .truncated(let offset, let needed, let available):
            "truncated at offset \(offset): \(needed) bytes needed, \(available) there"
        case .unknownMagic(let magic, let offset):
            "unknown magic 0x\(String(magic, radix: 16)) at offset \(offset)"
        case .tooLong(let length, let limit, let offset):
            "length \(length) at offset \(offset) is above the limit of \(limit)"
        case .checksumMismatch(let stored, let computed):
            "checksum mismatch: stored 0x\(String(stored, radix: 16)), computed 0x\(String(computed, radix: 16))"
        case .invalid(let reason, let offset):
            "\(reason) (at offset \(offset))"
        }
    }
}
