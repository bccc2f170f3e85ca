import BackupFormats

/// Percent-encoding as tickets and cookies use it.
enum Percent {
    /// Encodes control characters, `:`, `%` and everything that is not ASCII.
    ///
    /// (The percent sign too, so that no user name decodes to another one.)
    static func encode(_ text: some StringProtocol) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            if byte < 0x20 || byte >= 0x7f || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%") {
                result.append(UInt8(ascii: "%"))
                result += Array(Hex.encode([byte]).uppercased().utf8)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The text behind `%XX` sequences; a percent sign without two digits stands for itself. Nil where the result is
    /// not UTF-8.
    static func decode(_ text: some StringProtocol) -> String? {
        let input = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < input.count {
            if input[index] == UInt8(ascii: "%"), index + 2 < input.count,
                let byte = Hex.decode(
                    String(decoding: input[index + 1...index + 2], as: UTF8.self), allowUppercase: true)
            {
                result += byte
                index += 3
            } else {
                result.append(input[index])
                index += 1
            }
        }
        return String(validating: result, as: UTF8.self)
    }
}
