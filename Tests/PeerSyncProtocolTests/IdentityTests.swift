import BackupFormats
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Testing

@Suite("Peer identities")
struct IdentityTests {
    @Test("have the original's texts, ids and messages")
    func keys() throws {
        for vector in try Vectors.load("identity").list("keys") {
            let identity = try PeerIdentity(seed: vector.hex("seed"))
            #expect(identity.publicKey.bytes == (try vector.hex("public_key")))
            #expect(identity.keyID == (try vector.text("keyid")))
            #expect(identity.publicKey.message.ed25519Pub == (try vector.text("ed25519pub_b64_nopad")))
            let message = [UInt8](try identity.publicKey.message.serializedData())
            #expect(message == (try vector.hex("public_key_proto")))
        }
    }

    @Test("are refused where text, length or key id are wrong")
    func negatives() throws {
        for sample in try Vectors.load("identity").list("public_key_negative") {
            let name = try sample.text("name")
            var message = WirePublicKey()
            let key = try sample.object("public_key")
            message.keyid = key["keyId"]?.stringValue ?? ""
            message.ed25519Pub = key["ed25519pub"]?.stringValue ?? ""
            let isAccepted = (try? PeerPublicKey(message)) != nil
            #expect(isAccepted == (try sample.flag("accepted")), "\(name)")
        }
    }

    @Test("sign the original's handshakes")
    func handshakes() throws {
        for vector in try Vectors.load("handshake").list("vectors") {
            let identity = try PeerIdentity(seed: vector.hex("ed25519_seed"))
            let item = try Handshake.item(
                of: identity, instanceID: vector.text("instance_id"), pairingSecret: vector.text("pairing_secret"),
                transcript: vector.hex("transcript"))
            // Ed25519 signatures need not be the same bytes for the same message: the library adds randomness.
            let original = try WireSyncStreamItem(serializedBytes: vector.hex("sync_stream_item"))
            for shown in [item, original] {
                let read = try Handshake(verifying: shown, transcript: vector.hex("transcript"), ownKeyID: "")
                #expect(read.publicKey.keyID == (try vector.text("keyid")))
                #expect(read.instanceID == (try vector.text("instance_id")))
                #expect(read.pairingSecret == (try vector.text("pairing_secret")))
            }
            var unsigned = (item, original)
            unsigned.0.handshake.signature = Data()
            unsigned.1.handshake.signature = Data()
            #expect(unsigned.0 == unsigned.1)
        }
    }

    @Test("are not believed with any part of the handshake changed")
    func badHandshakes() throws {
        for sample in try Vectors.load("handshake").list("negative") {
            let name = try sample.text("name")
            let item = try WireSyncStreamItem(serializedBytes: sample.hex("sync_stream_item"))
            let transcript = try sample.hex("local_transcript")
            let isAccepted = (try? Handshake(verifying: item, transcript: transcript, ownKeyID: "")) != nil
            #expect(isAccepted == (try sample.flag("accepted")), "\(name)")
        }
    }

    @Test("are not believed when they are our own, reflected")
    func reflected() throws {
        let identity = try PeerIdentity()
        let transcript = [UInt8](repeating: 7, count: 32)
        let item = try Handshake.item(of: identity, instanceID: "me", transcript: transcript)
        #expect(throws: PeerSyncFailure.self) {
            _ = try Handshake(verifying: item, transcript: transcript, ownKeyID: identity.keyID)
        }
    }

    @Test("with a key of small order verify nothing")
    func smallOrder() throws {
        var one = [UInt8](repeating: 0, count: 32)
        one[0] = 1
        var signature = one
        signature += [UInt8](repeating: 0, count: 32)
        let key = try? PeerPublicKey(bytes: one)
        #expect(key?.verifies(signature, of: [1, 2, 3]) != true)
    }
}

@Suite("Pairing")
struct PairingTests {
    @Test("tokens are cut where the original cuts them")
    func tokens() throws {
        for sample in try Vectors.load("identity").list("pairing_token_parse") {
            let text = try sample.text("token")
            guard try sample.flag("accepted") else {
                #expect(throws: PeerSyncFailure.self, "\(text)") { _ = try PairingToken(parsing: text) }
                continue
            }
            let token = try PairingToken(parsing: text)
            #expect(token.keyID == (try sample.text("keyid")))
            #expect(token.secret == (try sample.text("secret")))
            #expect(token.instanceID == (try sample.text("instance_id")))
            #expect(token.description == text)
        }
    }

    @Test("secrets are taken as often and as long as the original takes them")
    func secrets() throws {
        for sample in try Vectors.load("identity").list("pairing_secret_check") {
            let name = try sample.text("name")
            let token = try sample.object("token")
            let secret = PairingSecret(
                secret: token["secret"]?.stringValue ?? "",
                expires: Int64(token["expiresAtUnix"]?.stringValue ?? "0") ?? 0,
                maxUses: Int(token["maxUses"]?.intValue ?? 0), uses: Int(token["uses"]?.intValue ?? 0))
            let now = try #require(sample["now_unix"]?.intValue)
            let isAccepted = secret.accepts(try sample.text("presented_secret"), now: now)
            #expect(isAccepted == (try sample.flag("accepted")), "\(name)")
        }
    }
}
