import BackupFormats
import BlobCoding
import BlobEncryption
import CairnTestSupport
import Testing

@Suite("A master key")
struct MasterKeyTests {
    static let passphrase = Array("master-pass-1".utf8)

    static func fixture() throws -> MasterPrivateKey {
        try MasterPrivateKey(pem: Fixtures.text("pbs/keys/master-private.pem"), passphrase: passphrase)
    }

    @Test("opens the key that the reference client put into a snapshot")
    func snapshot() throws {
        let blob = try Fixtures.bytes("pbs/store/host/master/2024-06-01T00:00:00Z/rsa-encrypted.key.blob")
        let content = try BlobDecoder().decode(blob, limit: 1024)
        #expect(content.count == 512)
        let file = try Self.fixture().decrypt(content)
        #expect(!file.needsPassphrase)
        #expect(try file.open().fingerprint == EncryptionKey.fixture().fingerprint)
        #expect(file.encoded.count == 255)
    }

    @Test("gives back what its public half encrypted")
    func roundTrip() throws {
        let publicKey = try MasterPublicKey(pem: Fixtures.text("pbs/keys/master-public.pem"))
        #expect(publicKey.bitCount == 4096)
        #expect(try Self.fixture().publicKey.pem.filter { $0 != "\n" } == publicKey.pem.filter { $0 != "\n" })
        let key = EncryptionKey.generate()
        let file = try KeyFile(
            for: key, protection: .pbkdf2(passphrase: Array("secret".utf8), hint: "h"), created: 1_714_557_600)
        let open = try file.unprotected(key, modified: 1_717_200_000)
        #expect(open.created == file.created)
        #expect(open.modified == "2024-06-01T00:00:00+00:00")
        #expect(open.hint == nil)
        #expect(open.encoded.count == 255)
        let encrypted = try publicKey.encrypt(open)
        #expect(encrypted.count == 512)
        #expect(try Self.fixture().decrypt(encrypted) == open)
        var damaged = encrypted
        damaged[100] ^= 1
        #expect(throws: BackupFailure.self) { try Self.fixture().decrypt(damaged) }
        #expect(throws: BackupFailure.self) { try Self.fixture().decrypt(Array(encrypted.dropLast())) }
        #expect(throws: BackupFailure.self) { try Self.fixture().decrypt([]) }
    }

    @Test("is written under a passphrase and read again")
    func pem() throws {
        let key = try Self.fixture()
        let pem = try key.pem(passphrase: Array("another one".utf8))
        #expect(pem.hasPrefix("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"))
        #expect(
            try MasterPrivateKey(pem: pem, passphrase: Array("another one".utf8)).publicKey.pem == key.publicKey.pem)
        #expect(throws: BackupFailure.self) { try MasterPrivateKey(pem: pem, passphrase: Self.passphrase) }
        #expect(throws: BackupFailure.self) { try MasterPrivateKey(pem: pem) }
        #expect(throws: BackupFailure.self) { try key.pem(passphrase: Array("1234".utf8)) }
    }

    @Test("is refused when it is damaged, or no key at all")
    func damage() throws {
        let good = try Fixtures.text("pbs/keys/master-private.pem")
        for text in ["", "x", "-----BEGIN X-----\n-----END X-----\n", String(repeating: "A", count: 1 << 20)] {
            #expect(throws: BackupFailure.self) { try MasterPrivateKey(pem: text, passphrase: Self.passphrase) }
            #expect(throws: BackupFailure.self) { try MasterPublicKey(pem: text) }
        }
        // The first lines hold the parameters of the protection.
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for _ in 0..<60 {
            var bad = Array(good.utf8)
            let place = 38 + Int.random(in: 0..<110, using: &random)
            bad[place] = letters[Int.random(in: 0..<64, using: &random)]
            do {
                _ = try MasterPrivateKey(pem: String(decoding: bad, as: UTF8.self), passphrase: Self.passphrase)
            } catch {
                // A BackupFailure is what damage should give; a change of a bit that means nothing passes.
            }
        }
    }
}
