import BackupFormats
import BlobCoding
import BlobEncryption
import CairnTestSupport
import Testing

@Suite("A manifest's signature")
struct ManifestSignatureTests {
    /// The manifest of the vector; its key is scrypt("test", empty salt).
    static func sample() throws -> (Manifest, EncryptionKey) {
        let snapshot = try #require(SnapshotName(parsing: "host/elsa/2020-06-26T13:56:05Z"))
        let (image, blob) = (try #require(ArchiveName("test1.img.fidx")), try #require(ArchiveName("abc.blob")))
        func sum(_ byte: UInt8) -> ChunkDigest? { ChunkDigest(bytes: [UInt8](repeating: byte, count: 32)) }
        var manifest = Manifest(snapshot: snapshot)
        manifest.add(.init(name: image, cryptMode: .encrypt, size: 200, checksum: sum(1)))
        manifest.add(.init(name: blob, cryptMode: .none, size: 200, checksum: sum(2)))
        let bytes = hex("28cdb1a3bef39396c3860e00d448fe7a0efd8244486ab6feb30457681d31597e")
        return (manifest, try #require(EncryptionKey(bytes: bytes)))
    }

    @Test("has the value of the vector")
    func vector() throws {
        let (manifest, key) = try Self.sample()
        let signed = try ManifestSignature.sign(manifest, with: key)
        #expect(signed.signature == "d7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679e9")
        #expect(signed.keyFingerprint == key.fingerprint.description)
        #expect(try ManifestSignature.verdict(on: signed, with: key) == .valid)
        try ManifestSignature.require(on: Manifest(parsing: signed.encoded), by: key)
    }

    @Test("stays right when the unprotected part changes")
    func unprotected() throws {
        let (manifest, key) = try Self.sample()
        var signed = try ManifestSignature.sign(manifest, with: key)
        signed.notes = "a note"
        signed.verifyState = .init(outcome: .ok, task: "UPID:x")
        try ManifestSignature.require(on: signed, by: key)
    }

    @Test("is wrong when anything else changes, and then the manifest is refused")
    func changed() throws {
        let (manifest, key) = try Self.sample()
        var signed = try ManifestSignature.sign(manifest, with: key)
        signed.add(
            .init(name: try #require(ArchiveName("abc.blob")), cryptMode: .none, size: 201, checksum: .zero))
        #expect(try ManifestSignature.verdict(on: signed, with: key) == .wrong)
        let failure = try #require(throws: BackupFailure.self) { try ManifestSignature.require(on: signed, by: key) }
        #expect(failure.kind == .corruptData)
        #expect(failure.summary.contains("host/elsa/2020-06-26T13:56:05Z"))
        try ManifestSignature.require(on: signed, by: key, overriding: true)
    }

    @Test("is asked for: an unsigned manifest is refused unless told otherwise")
    func unsigned() throws {
        let (manifest, key) = try Self.sample()
        #expect(try ManifestSignature.verdict(on: manifest, with: key) == .unsigned)
        #expect(throws: BackupFailure.self) { try ManifestSignature.require(on: manifest, by: key) }
        try ManifestSignature.require(on: manifest, by: key, overriding: true)
    }

    @Test("of another key is refused in any case")
    func otherKey() throws {
        let (manifest, key) = try Self.sample()
        let other = EncryptionKey.generate()
        let signed = try ManifestSignature.sign(manifest, with: other)
        #expect(try ManifestSignature.verdict(on: signed, with: key) == .otherKey(other.fingerprint))
        #expect(throws: BackupFailure.self) {
            try ManifestSignature.require(on: signed, by: key, overriding: true)
        }
        var forged = signed
        forged.unprotected["key-fingerprint"] = "zz"
        #expect(try ManifestSignature.verdict(on: forged, with: key) == .wrong)
        forged.keyFingerprint = key.fingerprint.description
        #expect(try ManifestSignature.verdict(on: forged, with: key) == .wrong)
    }

    @Test("of the reference client is right", arguments: ["signed", "enc", "master"])
    func fixture(_ id: String) throws {
        let blob = try Fixtures.bytes("pbs/store/host/\(id)/2024-06-01T00:00:00Z/index.json.blob")
        let manifest = try Manifest(parsing: BlobDecoder().decode(blob, limit: Manifest.maxByteCount))
        try ManifestSignature.require(on: manifest, by: EncryptionKey.fixture())
    }
}
