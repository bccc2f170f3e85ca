import BackupFormats
import Crypto
import PeerSyncProtocol
import Testing

extension SymmetricKey {
    var bytes: [UInt8] { withUnsafeBytes { Array($0) } }
}

@Suite("The key exchange")
struct KeyExchangeTests {
    static let vectors = Result { try Vectors.load("hpke_mlkem1024_p384") }

    func privateKey(_ vector: JSONValue) throws -> HybridPrivateKey {
        try HybridPrivateKey(latticeSeed: vector.hex("mlkem1024_seed_d_z"), scalar: vector.hex("p384_private_scalar"))
    }

    @Test("gives the original's public keys, secrets, session keys and transcripts")
    func exchanges() throws {
        let vectors = try Self.vectors.get().list("vectors")
        #expect(vectors.count == 3)
        for vector in vectors {
            let key = try privateKey(vector)
            #expect(key.publicKey == (try vector.hex("public_key")))
            let encapsulation = try vector.hex("enc")
            let secret = try key.open(encapsulation)
            #expect(secret.bytes == (try vector.hex("kem_shared_secret")))
            let keys = SessionKeys(secret: secret, publicKey: key.publicKey, encapsulation: encapsulation)
            let schedule = try vector.object("key_schedule")
            #expect(keys.toResponder.bytes == (try schedule.hex("export_i2r_key")))
            #expect(keys.toInitiator.bytes == (try schedule.hex("export_r2i_key")))
            #expect(keys.transcript == (try vector.hex("transcript")))
        }
    }

    @Test("gives other keys with the id that the schema's comment names")
    func otherID() throws {
        let vector = try #require(try Self.vectors.get().list("vectors").first)
        let key = try privateKey(vector)
        let encapsulation = try vector.hex("enc")
        let secret = try key.open(encapsulation)
        let wrong = SessionKeys(
            secret: secret, publicKey: key.publicKey, encapsulation: encapsulation, suite: (0x0050, 0x0001, 0x0002))
        #expect(wrong.toResponder.bytes != (try vector.object("key_schedule").hex("export_i2r_key")))
    }

    @Test("agrees with the published draft vector of the same KEM")
    func published() throws {
        let vector = try #require(try Self.vectors.get().list("published_draft_vectors_kem_0x0051").first)
        // SHAKE256 of the vector's `skRm`, 64 and 48 bytes of it.
        let seed = """
            0bcfef23c9c7b9c7c584d26274ff89575f36e02aa39bc20b234a47ad9f7c69c2\
            2b46a1ffad5bcf9543678e967908c1865b1ba6f01407d5879bf6f3275cc2b857
            """
        let scalar = """
            62deaa37aa5fb830bd07a5f91a12ae80e28b6902bf11f6fd96b8480470934065\
            919517c879386eae84ff441a07c50387
            """
        let key = try HybridPrivateKey(
            latticeSeed: #require(Hex.decode(seed)), scalar: #require(Hex.decode(scalar)))
        #expect(key.publicKey == (try vector.hex("pkRm")))
        let secret = try key.open(vector.hex("enc"))
        #expect(secret.bytes == (try vector.hex("shared_secret")))
        let schedule = KeySchedule<SHA384>(
            secret: secret, info: try vector.hex("info"), suite: (0x0051, 0x0002, 0x0002))
        let exports = try vector.list("exports")
        #expect(!exports.isEmpty)
        for export in exports {
            let count = try #require(export["L"]?.intValue)
            let value = schedule.export(try export.hex("exporter_context"), count: Int(count))
            #expect(value.bytes == (try export.hex("exported_value")))
        }
    }

    @Test("refuses keys and encapsulations that are none, without a crash")
    func negatives() throws {
        let all = try Self.vectors.get()
        let first = try #require(try all.list("vectors").first)
        let key = try privateKey(first)
        let expected = try first.object("key_schedule").hex("export_i2r_key")
        for sample in try all.list("negative") {
            let bytes = try sample.hex("bytes")
            let name = Comment(rawValue: try sample.text("name"))
            if try sample.text("kind") == "public_key" {
                let isAccepted = (try? HybridKEM.encapsulate(to: bytes)) != nil
                #expect(isAccepted == (try sample.flag("accepted")), name)
            } else {
                let secret = try? key.open(bytes)
                #expect((secret != nil) == (try sample.flag("decapsulation_accepted")), name)
                guard let secret else { continue }
                let keys = SessionKeys(secret: secret, publicKey: key.publicKey, encapsulation: bytes)
                #expect((keys.toResponder.bytes == expected) == (try sample.flag("same_session_key")), name)
                #expect(keys.transcript == (try sample.hex("transcript")), name)
            }
        }
    }

    @Test("joins two ends, each time with other keys")
    func fresh() throws {
        var seen: Set<[UInt8]> = []
        for _ in 0..<3 {
            let key = try HybridPrivateKey()
            let (encapsulation, secret) = try HybridKEM.encapsulate(to: key.publicKey)
            let host = SessionKeys(secret: secret, publicKey: key.publicKey, encapsulation: encapsulation)
            let member = SessionKeys(
                secret: try key.open(encapsulation), publicKey: key.publicKey, encapsulation: encapsulation)
            #expect(host.toResponder == member.toResponder && host.toInitiator == member.toInitiator)
            #expect(host.transcript == member.transcript && host.toResponder != host.toInitiator)
            seen.insert(host.transcript)
        }
        #expect(seen.count == 3)
    }
}
