/// The fixed part in front of every stored object: chunks and `.blob` files.
///
/// | Offset | Size | Field    | Content                              |
/// |-------:|-----:|----------|--------------------------------------|
/// |      0 |    8 | magic    | Selects the ``Encoding``             |
/// |      8 |    4 | checksum | CRC-32 of the payload, little-endian |
/// |     12 |   16 | iv       | Encrypted encodings only             |
/// |     28 |   16 | tag      | Encrypted encodings only             |
///
/// The payload follows, at offset 12 or 44. The checksum finds bit rot. It does
/// not cover `iv` and `tag` and says nothing about who wrote the object; only
/// the tag does that. (Spec: formats §1.)
package struct DataBlobHeader: Equatable, Sendable {
    /// What was done to the payload. The raw value is the magic, read as a
    /// little-endian integer.
    package enum Encoding: UInt64, CaseIterable, Sendable {
        case plain = 0xa170_83be_0738_ab42
        case compressed = 0x7fa3_b66f_4258_b931
        case encrypted = 0xf04c_2d22_be85_677b
        case compressedThenEncrypted = 0x0bd8_bf0b_bf1b_59e6

        package var isEncrypted: Bool { self == .encrypted || self == .compressedThenEncrypted }
        package var isCompressed: Bool { self == .compressed || self == .compressedThenEncrypted }
        /// Where the payload starts.
        package var headerByteCount: Int { isEncrypted ? 44 : 12 }
    }

    /// What authenticated encryption adds to the header.
    package struct Seal: Equatable, Sendable {
        package static let ivByteCount = 16
        package static let tagByteCount = 16

        package let iv: SIMD16<UInt8>
        package let tag: SIMD16<UInt8>

        package init(iv: SIMD16<UInt8>, tag: SIMD16<UInt8>) {
            self.iv = iv
            self.tag = tag
        }
    }

    package let encoding: Encoding
    package let checksum: UInt32
    /// Present exactly where the encoding is an encrypted one.
    package let seal: Seal?

    /// The header of an object that is not encrypted.
    package init(compressed: Bool, checksum: UInt32) {
        encoding = compressed ? .compressed : .plain
        self.checksum = checksum
        seal = nil
    }

    /// The header of an encrypted object.
    package init(sealed seal: Seal, compressed: Bool, checksum: UInt32) {
        encoding = compressed ? .compressedThenEncrypted : .encrypted
        self.checksum = checksum
        self.seal = seal
    }

    /// Reads the header and leaves the reader at the first byte of the payload.
    ///
    /// - Parameter reader: Positioned at the start of a stored object.
    /// - Throws: ``FormatError/truncated(offset:needed:available:)`` where the
    ///   object ends inside the header, and
    ///   ``FormatError/unknownMagic(_:offset:)`` where no encoding has these
    ///   eight bytes.
    package init(from reader: inout ByteReader) throws(FormatError) {
        let start = reader.offset
        let magic: UInt64 = try reader.read()
        guard let encoding = Encoding(rawValue: magic) else {
            throw .unknownMagic(magic, offset: start)
        }
        self.encoding = encoding
        checksum = try reader.read()
        seal = encoding.isEncrypted ? Seal(iv: try Self.word(&reader), tag: try Self.word(&reader)) : nil
    }

    /// Reads the header of `blob`; the payload starts at `encoding.headerByteCount`.
    package init(parsing blob: [UInt8]) throws(FormatError) {
        var reader = ByteReader(blob.span)
        try self.init(from: &reader)
    }

    private static func word(_ reader: inout ByteReader) throws(FormatError) -> SIMD16<UInt8> {
        SIMD16(try reader.readBytes(16))
    }

    /// Appends the header.
    package func append(to output: inout [UInt8]) {
        output.appendLittleEndian(encoding.rawValue)
        output.appendLittleEndian(checksum)
        guard let seal else { return }
        for index in 0..<16 { output.append(seal.iv[index]) }
        for index in 0..<16 { output.append(seal.tag[index]) }
    }
}
