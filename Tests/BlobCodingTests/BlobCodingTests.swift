import BackupFormats
import BlobCoding
import CairnTestSupport
import Testing

/// Bytes written as hexadecimal digits, blanks allowed.
func hex(_ text: String) -> [UInt8] { Hex.decode(text.filter { $0 != " " }) ?? [] }

/// A blob around a payload that the test chose, with the right checksum.
func blob(_ encoding: DataBlobHeader.Encoding, _ payload: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    DataBlobHeader(compressed: encoding == .compressed, checksum: CRC32.checksum(of: payload)).append(to: &bytes)
    return bytes + payload
}

@Suite("A plain or compressed blob")
struct BlobCodingTests {
    let encoder = BlobEncoder()
    let decoder = BlobDecoder()

    @Test("has the bytes of the vectors")
    func vectors() throws {
        #expect(
            try encoder.encode(Array("hello world".utf8), compress: true)
                == hex("42ab3807be8370a1 85114a0d 68656c6c6f20776f726c64"))
        #expect(try encoder.encode([], compress: false) == hex("42ab3807be8370a1 00000000"))
        #expect(try encoder.encode([], compress: true) == hex("42ab3807be8370a1 00000000"))
        #expect(try decoder.decode(hex("42ab3807be8370a1 00000000"), limit: 0) == [])
    }

    @Test("comes back the same", arguments: [0, 1, 100, 4096, 100_000, 3_000_000], [true, false])
    func roundTrip(count: Int, compress: Bool) throws {
        for content in [GeneratedData.lines("t", count), GeneratedData.shactr("s", min(count, 200_000))] {
            let blob = try encoder.encode(content, compress: compress)
            #expect(blob.count <= content.count + 12)
            #expect(try decoder.decode(blob, limit: content.count) == content)
            #expect(BlobChecksum.isRight(blob))
            if !content.isEmpty {
                #expect(throws: FormatError.self) { try decoder.decode(blob, limit: content.count - 1) }
            }
        }
    }

    @Test("is compressed where that helps, and only there")
    func encodings() throws {
        let text = try encoder.encode(GeneratedData.lines("t", 100_000), compress: true)
        #expect(try DataBlobHeader(parsing: text).encoding == .compressed)
        #expect(text.count < 40_000)
        let noise = try encoder.encode(GeneratedData.shactr("s", 100_000), compress: true)
        #expect(try DataBlobHeader(parsing: noise).encoding == .plain)
        #expect(noise.count == 100_012)
    }

    @Test("may hold a frame without a size, and more than one frame")
    func frames() throws {
        // Made by the zstd command from a pipe: no content size in the header.
        let hello = hex("28b52ffd 0448 59 000068656c6c6f20776f726c64 68691eb2")
        #expect(try decoder.decode(blob(.compressed, hello), limit: 100) == Array("hello world".utf8))
        #expect(
            try decoder.decode(blob(.compressed, hello + hello), limit: 100)
                == Array("hello worldhello world".utf8))
        let content = GeneratedData.lines("t", 300_000)
        let sized = try #require(try content.withUnsafeBytes { try encoder.compressed($0) })
        #expect(try decoder.decode(blob(.compressed, sized + sized), limit: 600_000) == content + content)
        #expect(
            try decoder.decode(blob(.compressed, sized + hello), limit: 300_011) == content + Array("hello world".utf8))
        #expect(throws: FormatError.self) { try decoder.decode(blob(.compressed, sized + hello), limit: 300_010) }
        #expect(throws: FormatError.self) { try decoder.decode(blob(.compressed, hello), limit: 10) }
        #expect(throws: FormatError.self) { try decoder.decode(blob(.compressed, hello.dropLast()), limit: 100) }
        #expect(throws: FormatError.self) { try decoder.decode(blob(.compressed, []), limit: 100) }
    }

    @Test("cannot take more memory than its limit says")
    func bomb() throws {
        let zeros = try encoder.encode([UInt8](repeating: 0, count: 20 << 20), compress: true)
        #expect(zeros.count < 4096)
        #expect(throws: FormatError.tooLong(20 << 20, limit: BlobLimits.maxChunkContent, offset: 12)) {
            try decoder.decode(zeros, limit: BlobLimits.maxChunkContent)
        }
        // A frame that announces 2^62 bytes.
        let announced = hex("28b52ffd e0 0000000000000040 010000")
        #expect(throws: FormatError.self) { try decoder.decode(blob(.compressed, announced), limit: 1 << 20) }
    }

    @Test("is found damaged whichever bit behind the header flips")
    func checksum() throws {
        let good = try encoder.encode(Array("hello world".utf8), compress: false)
        for bit in 12 * 8..<good.count * 8 {
            var bad = good
            bad[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FormatError.self) { try decoder.decode(bad, limit: 100) }
            #expect(try decoder.decode(bad, limit: 100, checksum: .ignore).count == 11)
            #expect(try BlobChecksum.verify(withChecksum(bad)).encoding == .plain)
        }
        #expect(try withChecksum(good) == good)
        #expect(throws: FormatError.self) { try withChecksum(Array(good.prefix(11))) }
    }

    @Test("is refused where it is cut short, encrypted or unknown")
    func refused() throws {
        let text = try encoder.encode(GeneratedData.lines("t", 2000), compress: true)
        for count in 0..<text.count {
            let cut = Array(text.prefix(count))
            #expect(throws: FormatError.self) { try decoder.decode(cut, limit: 4096) }
            #expect(throws: FormatError.self) { try decoder.decode(cut, limit: 4096, checksum: .ignore) }
        }
        #expect(throws: FormatError.invalid("the blob is encrypted", offset: 0)) {
            try decoder.decode(hex("7b6785be222d4cf0") + [UInt8](repeating: 0, count: 36), limit: 10)
        }
        #expect(throws: FormatError.self) {
            try decoder.decode(hex("7b6785be222d4cf0") + [UInt8](repeating: 0, count: 35), limit: 10)
        }
    }

    @Test("with random damage inside the frame gives an error or content within the limit")
    func damage() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let text = try encoder.encode(GeneratedData.lines("t", 5000), compress: true)
        for round in 0..<2000 {
            var bad = text
            for _ in 0..<3 {
                bad[Int.random(in: 12..<bad.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
            }
            do {
                let content = try decoder.decode(bad, limit: 6000, checksum: .ignore)
                #expect(content.count <= 6000, "seed \(seed), round \(round)")
            } catch {
                // What damage should give.
            }
        }
        #expect(try decoder.decode(text, limit: 5000).count == 5000, "the context works on")
    }

    @Test("is lent a coder by the pool, also inside a loan")
    func pool() throws {
        let coders = BlobCoders()
        let content = GeneratedData.lines("t", 1000)
        let result = try coders.withEncoder { encoder throws(FormatError) in
            let blob = try encoder.encode(content, compress: true)
            return try coders.withDecoder { decoder throws(FormatError) in
                try coders.withDecoder { inner throws(FormatError) in
                    #expect(decoder !== inner)
                    return try inner.decode(blob, limit: 1000)
                }
            }
        }
        #expect(result == content)
    }
}

extension BlobChecksum {
    static func isRight(_ blob: [UInt8]) -> Bool { (try? verify(blob)) != nil }
}

@Suite("The reference store")
struct ReferenceBlobTests {
    let decoder = BlobDecoder()

    @Test("holds chunks that have the digest of their name")
    func chunks() throws {
        let index = try DynamicIndex(
            parsing: Fixtures.bytes("pbs/store/host/chunk64k/2024-06-01T00:00:00Z/sizes.pxar.didx"))
        #expect(index.count > 3)
        for entry in 0..<index.count {
            let digest = index.digest(at: entry)
            let chunk = try Fixtures.bytes("pbs/store/.chunks/\(Hex.encode(digest.bytes.prefix(2)))/\(digest)")
            let content = try decoder.decode(chunk, limit: BlobLimits.maxChunkContent)
            #expect(content.count == index.range(at: entry).count)
            #expect(ChunkDigest(hashing: content) == digest)
        }
    }

    @Test(
        "holds manifests that are written again with the same bytes",
        arguments: [
            "host/plain/2024-06-01T00:00:00Z", "host/plain/2024-06-02T00:00:00Z", "host/enc/2024-06-01T00:00:00Z",
            "host/enc/2024-06-02T00:00:00Z", "host/signed/2024-06-01T00:00:00Z", "host/master/2024-06-01T00:00:00Z",
            "host/emptyblob/2024-06-01T00:00:00Z", "ns/prod/ns/eu/vm/100/2024-06-01T00:00:00Z",
            "ns/prod/ct/200/2024-06-01T00:00:00Z", "host/enc-pbkdf2/2024-06-01T00:00:00Z",
        ])
    func manifests(_ path: String) throws {
        let json = try decoder.decode(
            Fixtures.bytes("pbs/store/\(path)/index.json.blob"), limit: Manifest.maxByteCount)
        let manifest = try Manifest(parsing: json)
        #expect(String(decoding: manifest.encoded, as: UTF8.self) == String(decoding: json, as: UTF8.self))
        for file in manifest.files {
            let bytes = try Fixtures.bytes("pbs/store/\(path)/\(file.name)")
            switch file.name.kind {
            case .blob:
                #expect(UInt64(bytes.count) == file.size)
                #expect(ChunkDigest(hashing: bytes) == file.checksum)
            case .fixedIndex:
                let index = try FixedIndex(parsing: bytes)
                #expect(index.size == file.size)
                #expect(index.computedChecksum == file.checksum)
            case .dynamicIndex:
                let index = try DynamicIndex(parsing: bytes)
                #expect(index.size == file.size)
                #expect(index.computedChecksum == file.checksum)
            }
        }
    }

    @Test("holds blobs of both encodings")
    func blobs() throws {
        #expect(
            try decoder.decode(
                Fixtures.bytes("pbs/store/host/emptyblob/2024-06-01T00:00:00Z/empty.conf.blob"), limit: 0) == [])
        let conf = try decoder.decode(
            Fixtures.bytes("pbs/store/host/plain/2024-06-01T00:00:00Z/vm.conf.blob"), limit: BlobLimits.maxContent)
        #expect(String(decoding: conf, as: UTF8.self).split(separator: "\n").count == 4)
        #expect(throws: FormatError.self) {
            try decoder.decode(
                Fixtures.bytes("pbs/store/host/enc/2024-06-01T00:00:00Z/vm.conf.blob"), limit: BlobLimits.maxContent)
        }
    }
}
