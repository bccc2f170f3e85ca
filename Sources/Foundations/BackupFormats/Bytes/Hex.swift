/// Lowercase hexadecimal, the only spelling that the formats write.
package enum Hex {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Two lowercase digits for each byte.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of an even number of digits, or nil. Upper case is taken only where `allowUppercase` says so.
    package static func decode(_ text: some StringProtocol, allowUppercase: Bool = false) -> [UInt8]? {
        let utf8 = Array(text.utf8)
        guard utf8.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(utf8.count / 2)
        for index in stride(from: 0, to: utf8.count, by: 2) {
            guard let high = value(utf8[index], allowUppercase), let low = value(utf8[index + 1], allowUppercase) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// Whether that byte is a hexadecimal digit of either case.
    package static func isDigit(_ byte: UInt8) -> Bool { value(byte, true) != nil }

    private static func value(_ digit: UInt8, _ allowUppercase: Bool) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): allowUppercase ? digit - UInt8(ascii: "A") + 10 : nil
        default: nil
        }
    }
}
