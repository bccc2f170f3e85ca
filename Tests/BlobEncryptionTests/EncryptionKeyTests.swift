import BackupFormats
import BlobCoding
import BlobEncryption
import CairnTestSupport
import Testing

/// Bytes written as hexadecimal digits, blanks allowed.
func hex(_ text: String) -> [UInt8] { Hex.decode(text.filter { $0 != " " }) ?? [] }

extension EncryptionKey {
    /// The key 00 01 … 1f of the vectors.
    static let sample = EncryptionKey(bytes: Array(0..<32))!
    /// The key of the fixtures.
    static func fixture() throws -> EncryptionKey {
        try KeyFile(parsing: Fixtures.bytes("pbs/keys/enc-none.json")).open()
    }
}

@Suite("An encryption key")
struct EncryptionKeyTests {
    static let iv = SIMD16<UInt8>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    static let blob = hex(
        "7b6785be222d4cf0 9acfe081 000102030405060708090a0b0c0d0e0f a9ec4f75b28d75c1dfab55ba3413c59a 0f09cc1a56c43d47ef93bf"
    )
    let encoder = BlobEncoder()
    let decoder = BlobDecoder()

    @Test("has a fingerprint in a long and a short form")
    func fingerprint() throws {
        let text = "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"
        let fingerprint = EncryptionKey.sample.fingerprint
        #expect(fingerprint.description == text)
        #expect(fingerprint.short == "0e:ab:d4:46:0b:6e:b9:ca")
        #expect(KeyFingerprint(parsing: text) == fingerprint)
        #expect(KeyFingerprint(parsing: text.filter { $0 != ":" }) == fingerprint)
        #expect(KeyFingerprint(parsing: "0e:ab") == nil)
        #expect(EncryptionKey(bytes: Array(0..<31)) == nil)
        #expect(EncryptionKey.generate().fingerprint != EncryptionKey.generate().fingerprint)
    }

    @Test("names chunks by a digest of its own")
    func digests() {
        #expect(
            EncryptionKey.sample.digest(of: Array("hello world".utf8)).description
                == "29d6770e718a93cf4a7663ddc167cf40c128b67cc20d36bd49adec140981f9d5")
        #expect(
            EncryptionKey.sample.digest(of: [UInt8](repeating: 0, count: 4 << 20)).description
                == "348571e12bbbedb529def1f1394316e338a01945d871df9ef792617ceb13d636")
    }

    @Test("encrypts to the bytes of the vector")
    func vector() throws {
        let hello = Array("hello world".utf8)
        #expect(try EncryptionKey.sample.encode(hello, compress: true, with: encoder, iv: Self.iv) == Self.blob)
        #expect(try EncryptionKey.sample.decode(Self.blob, limit: 11, with: decoder) == hello)
    }

    @Test("opens what it sealed", arguments: [0, 1, 5000, 300_000], [true, false])
    func roundTrip(count: Int, compress: Bool) throws {
        let content = GeneratedData.lines("t", count)
        let blob = try EncryptionKey.sample.encode(content, compress: compress, with: encoder)
        let header = try BlobChecksum.verify(blob)
        #expect(header.encoding == (compress && count > 100 ? .compressedThenEncrypted : .encrypted))
        #expect(try EncryptionKey.sample.decode(blob, limit: count, with: decoder) == content)
        #expect(try EncryptionKey.sample.encode(content, compress: compress, with: encoder) != blob, "the IV is random")
        if count > 0 {
            #expect(throws: FormatError.self) {
                try EncryptionKey.sample.decode(blob, limit: count - 1, with: decoder)
            }
        }
    }

    @Test("does not open what was changed, or what another key sealed")
    func damage() throws {
        for bit in 12 * 8..<Self.blob.count * 8 {
            var bad = Self.blob
            bad[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FormatError.self) { try EncryptionKey.sample.decode(bad, limit: 100, with: decoder) }
            #expect(throws: FormatError.self) {
                try EncryptionKey.sample.decode(bad, limit: 100, with: decoder, checksum: .ignore)
            }
            #expect(BlobChecksum.isRight(bad) == (bit < 44 * 8), "the checksum covers the ciphertext only")
        }
        #expect(throws: FormatError.self) {
            try EncryptionKey.generate().decode(Self.blob, limit: 100, with: decoder)
        }
        for count in 0..<Self.blob.count {
            #expect(throws: FormatError.self) {
                try EncryptionKey.sample.decode(Array(Self.blob.prefix(count)), limit: 100, with: decoder)
            }
        }
        #expect(throws: FormatError.invalid("the blob is not encrypted", offset: 0)) {
            try EncryptionKey.sample.decode(encoder.encode([1], compress: false), limit: 100, with: decoder)
        }
    }

    @Test("reads the reference client's encrypted snapshot")
    func fixture() throws {
        let key = try EncryptionKey.fixture()
        let folder = "pbs/store/host/enc/2024-06-01T00:00:00Z"
        let conf = try key.decode(Fixtures.bytes("\(folder)/vm.conf.blob"), limit: BlobLimits.maxContent, with: decoder)
        let plain = try decoder.decode(
            Fixtures.bytes("pbs/store/host/plain/2024-06-01T00:00:00Z/vm.conf.blob"), limit: BlobLimits.maxContent)
        #expect(conf == plain)
        let index = try DynamicIndex(parsing: Fixtures.bytes("\(folder)/catalog.pcat1.didx"))
        var catalog: [UInt8] = []
        for entry in 0..<index.count {
            let digest = index.digest(at: entry)
            let chunk = try Fixtures.bytes("pbs/store/.chunks/\(Hex.encode(digest.bytes.prefix(2)))/\(digest)")
            let content = try key.decode(chunk, limit: BlobLimits.maxChunkContent, with: decoder)
            #expect(key.digest(of: content) == digest)
            catalog += content
        }
        #expect(try CatalogReader(catalog).entries(at: []).map { $0.map(\.name) } == [Array("small.pxar.didx".utf8)])
    }
}

extension BlobChecksum {
    static func isRight(_ blob: [UInt8]) -> Bool { (try? verify(blob)) != nil }
}
