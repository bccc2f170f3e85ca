import BackupFormats
import Testing

@Suite("A number of variable length")
struct VarintTests {
    static let unsigned: [(UInt64, String)] = [
        (0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 32, "8080808010"), (.max, "ffffffffffffffffff01"),
    ]
    static let signed: [(Int64, String)] = [
        (0, "00"), (-1, "8100"), (-127, "ff00"), (-128, "808100"), (-129, "818100"), (1_700_000_000, "80e2cfaa06"),
        (.min, "8080808080808080808100"), (.max, "ffffffffffffffff7f"),
    ]

    static func read(_ bytes: [UInt8]) throws(FormatError) -> UInt64 {
        var reader = ByteReader(bytes.span)
        return try Varint.read(&reader)
    }

    static func readSigned(_ bytes: [UInt8]) throws(FormatError) -> Int64 {
        var reader = ByteReader(bytes.span)
        return try Varint.readSigned(&reader)
    }

    @Test("is written and read without sign", arguments: unsigned)
    func unsignedVectors(value: UInt64, text: String) throws {
        var bytes: [UInt8] = []
        Varint.append(value, to: &bytes)
        #expect(bytes == hex(text))
        #expect(try Self.read(bytes) == value)
        for count in 0..<bytes.count {
            #expect(throws: FormatError.self) { try Self.read(Array(bytes.prefix(count))) }
        }
    }

    @Test("is written and read with a sign", arguments: signed)
    func signedVectors(value: Int64, text: String) throws {
        var bytes: [UInt8] = []
        Varint.append(signed: value, to: &bytes)
        #expect(bytes == hex(text))
        #expect(try Self.readSigned(bytes) == value)
        for count in 0..<bytes.count {
            #expect(throws: FormatError.self) { try Self.readSigned(Array(bytes.prefix(count))) }
        }
    }

    @Test(
        "is refused outside of 64 bits",
        arguments: [
            "ffffffffffffffffff02", "ffffffffffffffffffff01", "80808080808080808080808000",
        ])
    func tooBig(_ text: String) {
        #expect(throws: FormatError.self) { try Self.read(hex(text)) }
        #expect(throws: FormatError.self) { try Self.readSigned(hex(text)) }
    }

    @Test(
        "with a sign is refused beyond its range",
        arguments: [
            "ffffffffffffffffff01", "8180808080808080808100", "80808080808080808001",
        ])
    func beyond(_ text: String) {
        #expect(throws: FormatError.self) { try Self.readSigned(hex(text)) }
    }
}
