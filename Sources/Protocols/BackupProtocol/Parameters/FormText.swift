import BackupFormats

/// Names and values of a query or a form: `a=1&b=x%20y+z`. (WHATWG URL, application/x-www-form-urlencoded.)
package enum FormText {
    /// The pairs in order. A name without `=` has an empty value; invalid escapes stay as they are, and bytes that
    /// are no UTF-8 become replacement characters.
    package static func pairs(_ text: some Collection<UInt8>) -> [(name: String, value: String)] {
        text.split(separator: UInt8(ascii: "&")).map { pair in
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            return (decode(parts[0]), parts.count == 2 ? decode(parts[1]) : "")
        }
    }

    /// Encodes pairs so that ``pairs(_:)`` gives them back.
    package static func encode(_ pairs: [(name: String, value: String)]) -> String {
        pairs.map { "\(encode($0.name))=\(encode($0.value))" }.joined(separator: "&")
    }

    /// Percent-encodes all but letters, digits and `-._~`.
    package static func encode(_ text: String) -> String {
        PercentCoding.encode(text)
    }

    /// Text with its escapes resolved; `plusIsBlank` as in queries and forms, not in paths.
    package static func decode(_ bytes: some Collection<UInt8>, plusIsBlank: Bool = true) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "+"), plusIsBlank {
                result.append(UInt8(ascii: " "))
            } else if byte == UInt8(ascii: "%"), let value = escaped(rest) {
                result.append(value)
                rest = rest.dropFirst(2)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func escaped(_ rest: some Collection<UInt8>) -> UInt8? {
        let pair = Array(rest.prefix(2))
        guard pair.count == 2, let high = value(pair[0]), let low = value(pair[1]) else { return nil }
        return high << 4 | low
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
