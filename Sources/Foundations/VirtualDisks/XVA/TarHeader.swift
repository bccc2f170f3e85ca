import BackupFormats

/// The 512 bytes in front of an entry of a tar archive, as far as an XVA needs them (POSIX ustar).
///
/// | Offset | Size | Field    |                                              |
/// |-------:|-----:|----------|----------------------------------------------|
/// |      0 |  100 | name     | ends with a NUL where shorter                |
/// |    100 |   24 | mode, owner, group |                                    |
/// |    124 |   12 | size     | octal digits, or a number with the top bit set |
/// |    136 |   12 | time     |                                              |
/// |    148 |    8 | checksum | sum of the bytes, blanks in its own place    |
/// |    156 |    1 | kind     | `0` or NUL: a file                           |
/// |    257 |    8 | magic    | `ustar`                                      |
/// |    345 |  155 | prefix   | goes in front of the name                    |
struct TarHeader: Equatable {
    static let byteCount = 512
    /// Bytes that content and its padding take.
    static func paddedCount(_ size: UInt64) -> UInt64 { (size + 511) / 512 * 512 }

    let name: String
    let size: UInt64
    let isFile: Bool

    init(name: String, size: UInt64) {
        self.name = name
        self.size = size
        isFile = true
    }

    /// - Parameter offset: Where these 512 bytes lie in the archive; for errors.
    init(parsing bytes: [UInt8], offset: Int) throws(FormatError) {
        guard bytes.count == Self.byteCount else {
            throw .truncated(offset: offset, needed: Self.byteCount, available: bytes.count)
        }
        let stored = Self.number(bytes[148..<156])
        var sum: UInt64 = 8 * UInt64(UInt8(ascii: " "))
        for (index, byte) in bytes.enumerated() where index < 148 || index >= 156 { sum += UInt64(byte) }
        guard stored == sum else { throw .invalid("no header of a tar entry", offset: offset) }
        guard let size = Self.number(bytes[124..<136]), size <= XVALimits.entryBytes else {
            throw .invalid("the size of a tar entry is no number, or too large", offset: offset + 124)
        }
        self.size = size
        let isUstar = bytes[257..<262].elementsEqual("ustar".utf8)
        let prefix = isUstar ? Self.text(bytes[345..<500]) : ""
        let name = Self.text(bytes[0..<100])
        self.name = prefix.isEmpty ? name : prefix + "/" + name
        isFile = bytes[156] == UInt8(ascii: "0") || bytes[156] == 0
    }

    /// Names longer than 100 bytes are cut.
    func encode() -> [UInt8] {
        var bytes = Array(name.utf8.prefix(100))
        bytes.appendZeros(100 - bytes.count)
        bytes += Array("0000644\u{0}0000000\u{0}0000000\u{0}".utf8)
        bytes += Self.octal(size, 11) + [0]
        bytes += Self.octal(0, 11) + [0]
        bytes += [UInt8](repeating: UInt8(ascii: " "), count: 8)
        bytes.append(UInt8(ascii: "0"))
        bytes.appendZeros(100)
        bytes += Array("ustar\u{0}00".utf8)
        bytes.appendZeros(Self.byteCount - bytes.count)
        let sum = bytes.reduce(0) { $0 + UInt64($1) }
        bytes.replaceSubrange(148..<156, with: Self.octal(sum, 6) + [0, UInt8(ascii: " ")])
        return bytes
    }

    private static func octal(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(ascii: "0") + UInt8(value >> UInt64(3 * (count - 1 - $0)) & 7) }
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Octal digits among blanks and NULs, or a binary number whose first byte is 0x80.
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64? {
        if bytes.first == 0x80 {
            guard bytes.dropFirst().dropLast(8).allSatisfy({ $0 == 0 }) else { return nil }
            return bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        let digits = bytes.drop { $0 == UInt8(ascii: " ") }.prefix { $0 != UInt8(ascii: " ") && $0 != 0 }
        guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }) else {
            return nil
        }
        return digits.reduce(0) { $0 << 3 | UInt64($1 - UInt8(ascii: "0")) }
    }
}
