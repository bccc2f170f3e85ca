import BackupFormats
import Crypto
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Testing

/// The sessions of two instances of the original, with our state machine in the place of one of them.
@Suite("A recorded session")
struct TraceTests {
    struct Stream {
        let json: JSONValue
        let publicKey: [UInt8]
        let encapsulation: [UInt8]
        let privateKey: HybridPrivateKey

        init(_ json: JSONValue, _ keys: [JSONValue]) throws {
            self.json = json
            let session = try json.object("session")
            publicKey = try session.hex("kem_public_key")
            encapsulation = try session.hex("enc")
            let seed = try session.text("initiator_seed")
            let key = try #require(keys.first { $0["initiator_seed"]?.stringValue == seed })
            privateKey = try HybridPrivateKey(
                latticeSeed: key.hex("mlkem1024_seed_d_z"), scalar: key.hex("p384_private_scalar"))
        }

        /// Plain items that one side sent, the handshake first.
        func items(_ direction: String) throws -> [WireSyncStreamItem] {
            try json.list("events").compactMap { event in
                guard event["direction"]?.stringValue == direction, event["outer"]?.stringValue == "encrypted" else {
                    return nil
                }
                return try WireSyncStreamItem(serializedBytes: event.hex("plaintext"))
            }
        }
    }

    static func streams() throws -> (trace: JSONValue, streams: [Stream]) {
        let trace = try Vectors.load("session_trace")
        let keys = try Vectors.load("trace_keys").list("keys")
        return (trace, try trace.list("streams").map { try Stream($0, keys) })
    }

    func identity(_ json: JSONValue) throws -> PeerIdentity {
        let text = try json.text("ed25519priv")
        let data = try #require(Data(base64Encoded: text + String(repeating: "=", count: (4 - text.count % 4) % 4)))
        return try PeerIdentity(seed: Array(data))
    }

    /// The kind of each item, for comparison of order.
    func kinds(_ effects: [PeerSession.Effect]) -> [String] {
        effects.map { effect in
            switch effect {
            case .send: "send"
            case .authorize: "authorize"
            case .verified: "verified"
            case .received(let item): "\(item)".prefix { $0 != "(" }.description
            }
        }
    }

    @Test("is taken by our hub: every item of the original's member, to the end")
    func hub() throws {
        let (trace, streams) = try Self.streams()
        let host = try identity(try trace.object("host_identity"))
        #expect(streams.count == 6)
        for stream in streams {
            let secret = try stream.privateKey.open(stream.encapsulation)
            let encapsulation = stream.encapsulation
            var session = PeerSession(hub: host, instanceID: "host-a") { key throws(PeerSyncFailure) in
                guard key == stream.publicKey else { throw PeerSyncFailure(.internalFault, "another key") }
                return (encapsulation, secret)
            }
            let keys = SessionKeys(secret: secret, publicKey: stream.publicKey, encapsulation: encapsulation)
            #expect(keys.transcript == (try stream.json.object("session").hex("transcript")))
            var member = SealedDirection(key: keys.toResponder)
            var answers = SealedDirection(key: keys.toInitiator)

            var opening = WireSyncStreamItem()
            opening.establishSharedSecret.protocolVersion = 1
            opening.establishSharedSecret.kemPublicKey = Data(stream.publicKey)
            let begun = try session.receive(opening.serializedData())
            #expect(kinds(begun) == ["send", "send"] && session.phase == .handshake)
            guard case .send(let sealed) = begun.last, case .encrypted(let outer) = sealed.action else {
                Issue.record("the hub's handshake is missing")
                continue
            }
            let proof = try WireSyncStreamItem(serializedBytes: answers.open(outer))
            var ours = proof.handshake
            var theirs = try #require(try stream.items("host-to-client").first).handshake
            ours.signature = Data()
            theirs.signature = Data()
            #expect(ours == theirs)
            _ = try Handshake(verifying: proof, transcript: keys.transcript, ownKeyID: "")

            for (place, item) in try stream.items("client-to-host").enumerated() {
                let effects = try session.receive(try member.seal(item.serializedBytes()).serializedData())
                if place == 0 {
                    guard case .authorize(let handshake) = effects.first else {
                        Issue.record("no handshake")
                        return
                    }
                    #expect(handshake.publicKey.keyID == (try trace.object("client_identity").text("keyId")))
                    session.accept()
                } else {
                    #expect(effects.count == 1 && kinds(effects) != ["send"])
                }
            }
            #expect(session.phase == .established)
        }
    }

    @Test("is taken by our member: every item of the original's hub, and it sends what that took")
    func member() throws {
        let (trace, streams) = try Self.streams()
        let client = try identity(try trace.object("client_identity"))
        let token = try PairingToken(parsing: trace.text("pairing_token"))
        for stream in streams {
            let sent = try stream.items("client-to-host")
            let secret = try #require(sent.first).handshake.pairingSecret
            var session = PeerSession(
                member: client, instanceID: "client-b", of: (token.keyID, token.instanceID), pairingSecret: secret,
                privateKey: stream.privateKey)
            let opening = session.opening()
            let first = try #require(
                try stream.json.list("events").first { $0["outer"]?.stringValue == "establish_shared_secret" })
            #expect(Envelope(payload: [UInt8](try opening.serializedData())).encoded == (try first.hex("envelope")))

            let keys = SessionKeys(
                secret: try stream.privateKey.open(stream.encapsulation), publicKey: stream.publicKey,
                encapsulation: stream.encapsulation)
            var hub = SealedDirection(key: keys.toInitiator)
            var answers = SealedDirection(key: keys.toResponder)
            var answer = WireSyncStreamItem()
            answer.establishSharedSecret.protocolVersion = 1
            answer.establishSharedSecret.kemEncapsulation = Data(stream.encapsulation)
            var effects = try session.receive(answer.serializedData())
            // With a secret, nothing is sent to a hub that has proved nothing yet.
            #expect(effects.isEmpty == !secret.isEmpty)

            for item in try stream.items("host-to-client") {
                effects += try session.receive(try hub.seal(item.serializedBytes()).serializedData())
            }
            guard case .send(let sealed) = effects.first(where: { if case .send = $0 { true } else { false } }),
                case .encrypted(let outer) = sealed.action
            else {
                Issue.record("the member's handshake is missing")
                continue
            }
            var ours = try WireSyncStreamItem(serializedBytes: answers.open(outer)).handshake
            var theirs = try #require(sent.first).handshake
            ours.signature = Data()
            theirs.signature = Data()
            #expect(ours == theirs)
            #expect(session.phase == .established)
            // What the original's member sent afterwards, ours sends as well: same plain bytes.
            for item in sent.dropFirst() {
                let mine = try #require(PeerItem(sent: item))
                guard case .encrypted(let outer) = try session.seal(mine).action else { continue }
                #expect(try WireSyncStreamItem(serializedBytes: answers.open(outer)) == item)
            }
        }
    }
}

extension PeerItem {
    /// The item of a message that a member sends.
    init?(sent message: WireSyncStreamItem) {
        switch message.action {
        case .heartbeat: self = .heartbeat(capabilities: [])
        case .receiveConfig(let view): self = .config(view.config)
        case .receiveResources(let list): self = .resources(repos: list.repos, plans: list.plans)
        case .operationManifest(let manifest): self = .manifest(ids: manifest.opIds, counters: manifest.modnos)
        case .receiveOperations(let message): self = .operations(message.event)
        default: return nil
        }
    }
}
