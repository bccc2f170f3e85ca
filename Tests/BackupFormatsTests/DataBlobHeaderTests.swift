import BackupFormats
import Crypto
import Testing

@Suite("A data blob header")
struct DataBlobHeaderTests {
    @Test(
        "has the hash of its label as magic",
        arguments: [
            (DataBlobHeader.Encoding.plain, "Proxmox Backup uncompressed blob v1.0"),
            (.compressed, "Proxmox Backup zstd compressed blob v1.0"),
            (.encrypted, "Proxmox Backup encrypted blob v1.0"),
            (.compressedThenEncrypted, "Proxmox Backup zstd compressed encrypted blob v1.0"),
        ])
    func magic(encoding: DataBlobHeader.Encoding, label: String) {
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(encoding.rawValue)
        #expect(bytes == Array(ChunkDigest.of(label).bytes.prefix(8)))
    }

    static let seal = DataBlobHeader.Seal(
        iv: SIMD16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        tag: SIMD16(repeating: 7))
    static let headers = [
        DataBlobHeader(compressed: false, checksum: 1), DataBlobHeader(compressed: true, checksum: 0x8511_4a0d),
        DataBlobHeader(sealed: seal, compressed: false, checksum: 2),
        DataBlobHeader(sealed: seal, compressed: true, checksum: 3),
    ]

    @Test("reads what it writes", arguments: headers)
    func roundTrip(_ header: DataBlobHeader) throws {
        var bytes: [UInt8] = []
        header.append(to: &bytes)
        #expect(bytes.count == header.encoding.headerByteCount)
        var reader = ByteReader(bytes.span)
        #expect(try DataBlobHeader(from: &reader) == header)
        #expect(reader.remaining == 0)
    }

    @Test("is refused wherever it is cut short", arguments: headers)
    func cutShort(_ header: DataBlobHeader) {
        var bytes: [UInt8] = []
        header.append(to: &bytes)
        for count in 0..<bytes.count {
            #expect(throws: FormatError.self) { try DataBlobHeader(parsing: Array(bytes.prefix(count))) }
        }
    }

    @Test("is refused with an unknown magic")
    func unknownMagic() {
        #expect(throws: FormatError.unknownMagic(0x0807_0605_0403_0201, offset: 0)) {
            try DataBlobHeader(parsing: [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0])
        }
    }
}
