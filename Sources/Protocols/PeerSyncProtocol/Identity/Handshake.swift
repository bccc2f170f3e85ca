import Crypto
import FoundationEssentials

/// The first item of each side inside the encrypted channel: who it is, bound to this key exchange. (Spec: §4.6.)
package struct Handshake: Sendable, Equatable {
    package static let version: Int64 = 3
    private static let maxTextBytes = 1024

    package let publicKey: PeerPublicKey
    package let instanceID: String
    /// Of a member that has not paired yet; else empty.
    package let pairingSecret: String

    /// The item that proves `identity` in the session of `transcript`.
    package static func item(
        of identity: PeerIdentity, instanceID: String, pairingSecret: String = "", transcript: [UInt8]
    ) throws(PeerSyncFailure) -> WireSyncStreamItem {
        let bound = binding(version: version, instanceID, pairingSecret, transcript)
        var item = WireSyncStreamItem()
        item.handshake.protocolVersion = version
        item.handshake.publicKey = identity.publicKey.message
        item.handshake.instanceID = instanceID
        item.handshake.pairingSecret = pairingSecret
        item.handshake.signature = .init(try identity.sign(bound))
        return item
    }

    /// Checks a handshake that was received, in the order of the specification.
    ///
    /// - Parameter ownKeyID: A handshake with one's own key is a reflected one.
    /// - Throws: ``PeerSyncFailure`` (`authentication`), also where the item is no handshake.
    package init(
        verifying item: WireSyncStreamItem, transcript: [UInt8], ownKeyID: String
    ) throws(PeerSyncFailure) {
        guard case .handshake(let message)? = item.action else {
            throw PeerSyncFailure(.authentication, "the first item is no handshake")
        }
        guard message.protocolVersion == Self.version else {
            throw PeerSyncFailure(.authentication, "handshake version \(message.protocolVersion)")
        }
        guard message.hasPublicKey, !message.publicKey.keyid.isEmpty else {
            throw PeerSyncFailure(.authentication, "the handshake has no public key")
        }
        guard !message.instanceID.isEmpty, message.instanceID.utf8.count <= Self.maxTextBytes,
            message.pairingSecret.utf8.count <= Self.maxTextBytes
        else { throw PeerSyncFailure(.authentication, "the handshake's names are empty or too long") }
        publicKey = try PeerPublicKey(message.publicKey)
        guard publicKey.keyID != ownKeyID else {
            throw PeerSyncFailure(.authentication, "the peer shows our own key")
        }
        let bound = Self.binding(
            version: message.protocolVersion, message.instanceID, message.pairingSecret, transcript)
        guard publicKey.verifies(Array(message.signature), of: bound) else {
            throw PeerSyncFailure(.authentication, "the signature of the handshake is wrong")
        }
        instanceID = message.instanceID
        pairingSecret = message.pairingSecret
    }

    /// What is signed.
    static func binding(
        version: Int64, _ instanceID: String, _ pairingSecret: String, _ transcript: [UInt8]
    ) -> [UInt8] {
        var hash = SHA256()
        hash.update(data: Array("backrest-sync-handshake/v1".utf8) + [0])
        hash.update(data: BigEndian.bytes(version))
        hash.update(data: BigEndian.prefixed(Array(instanceID.utf8)))
        hash.update(data: BigEndian.prefixed(Array(pairingSecret.utf8)))
        hash.update(data: BigEndian.prefixed(transcript))
        return Array(hash.finalize())
    }
}
