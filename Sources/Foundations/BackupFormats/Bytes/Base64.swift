/// Base64 in the standard alphabet with padding, the only spelling that the formats use.
package enum Base64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")
    private static let values: [UInt8] = {
        var table = [UInt8](repeating: 0xff, count: 256)
        for (value, digit) in digits.enumerated() { table[Int(digit)] = UInt8(value) }
        return table
    }()

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let rest = min(3, bytes.count - start)
            var group: UInt32 = 0
            for index in 0..<3 { group = group << 8 | UInt32(index < rest ? bytes[start + index] : 0) }
            for index in 0..<4 {
                text.append(index <= rest ? digits[Int(group >> UInt32(18 - 6 * index) & 63)] : padding)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes, or nil where the text is no base64: other characters (line ends included), missing
    /// padding, or bits behind the last byte that are not zero.
    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let input = Array(text.utf8)
        guard input.count.isMultiple(of: 4) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(input.count / 4 * 3)
        for start in stride(from: 0, to: input.count, by: 4) {
            let isLast = start + 4 == input.count
            let padded = isLast ? (input[start + 3] != padding ? 0 : input[start + 2] != padding ? 1 : 2) : 0
            var group: UInt32 = 0
            for index in 0..<4 {
                let value = index < 4 - padded ? values[Int(input[start + index])] : 0
                guard value < 64 else { return nil }
                group = group << 6 | UInt32(value)
            }
            for index in 0..<3 - padded { bytes.append(UInt8(truncatingIfNeeded: group >> UInt32(16 - 8 * index))) }
            guard group & (1 << UInt32(8 * padded) - 1) == 0 else { return nil }
        }
        return bytes
    }
}
