import Crypto

/// SHA-256 of a certificate's DER, written `aa:bb:…` in lower case.
package struct CertificateFingerprint: Sendable, Hashable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// Of a certificate in DER.
    package init(ofDER der: [UInt8]) {
        bytes = Array(SHA256.hash(data: der))
    }

    /// Reads 32 bytes in hex, of either case, with or without colons.
    package init?(parsing text: some StringProtocol) {
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text.utf8 where character != UInt8(ascii: ":") {
            let digit: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = character - UInt8(ascii: "A") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        guard high == nil, bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    package var description: String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.utf8.count == 1 ? "0" + text : text
        }.joined(separator: ":")
    }
}
