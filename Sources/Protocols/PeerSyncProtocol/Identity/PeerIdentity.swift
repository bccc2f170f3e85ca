import BackupFormats
import Crypto

/// The public key by which a peer is known. (Spec: backrest-sync §4.7.)
package struct PeerPublicKey: Sendable, Hashable {
    private static let keyBytes = 32

    package let bytes: [UInt8]
    /// `ed25519.` and the SHA-256 of the key in URL-safe base64 without padding: 51 characters.
    package let keyID: String

    package init(bytes: [UInt8]) throws(PeerSyncFailure) {
        guard bytes.count == Self.keyBytes, (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)) != nil else {
            throw PeerSyncFailure(.authentication, "the public key is not one of Ed25519")
        }
        self.bytes = bytes
        keyID = "ed25519." + Self.urlSafe(UnpaddedBase64.encode(Array(SHA256.hash(data: bytes))))
    }

    /// - Throws: ``PeerSyncFailure`` (`authentication`) where the text is not unpadded standard base64 of 32 bytes, or the
    ///   key id is not that of the key.
    package init(_ message: WirePublicKey) throws(PeerSyncFailure) {
        guard !message.keyid.isEmpty, let bytes = UnpaddedBase64.decode(message.ed25519Pub) else {
            throw PeerSyncFailure(.authentication, "the public key cannot be read")
        }
        try self.init(bytes: bytes)
        guard keyID == message.keyid else {
            throw PeerSyncFailure(.authentication, "the key id is not that of the key")
        }
    }

    package var message: WirePublicKey {
        var message = WirePublicKey()
        message.keyid = keyID
        message.ed25519Pub = UnpaddedBase64.encode(bytes)
        return message
    }

    private static func urlSafe(_ base64: String) -> String {
        String(base64.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }

    /// Whether `signature` is this key's over `message`. Signatures with a scalar that is not reduced, and keys of small
    /// order, are refused.
    package func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard signature.count == 64, !SmallOrder.contains(bytes),
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)
        else { return false }
        return key.isValidSignature(signature, for: message)
    }
}

/// The key pair of an instance.
package struct PeerIdentity: Sendable {
    private let key: Curve25519.Signing.PrivateKey
    package let publicKey: PeerPublicKey

    package init() throws(PeerSyncFailure) { try self.init(Curve25519.Signing.PrivateKey()) }

    /// - Parameter seed: 32 bytes, as they are stored.
    package init(seed: [UInt8]) throws(PeerSyncFailure) {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw PeerSyncFailure(.authentication, "the private key is not one of Ed25519")
        }
        try self.init(key)
    }

    private init(_ key: Curve25519.Signing.PrivateKey) throws(PeerSyncFailure) {
        self.key = key
        publicKey = try PeerPublicKey(bytes: Array(key.publicKey.rawRepresentation))
    }

    package var keyID: String { publicKey.keyID }
    package var seed: [UInt8] { Array(key.rawRepresentation) }

    package func sign(_ message: [UInt8]) throws(PeerSyncFailure) -> [UInt8] {
        do { return Array(try key.signature(for: message)) } catch {
            throw PeerSyncFailure(.internalFault, "the handshake cannot be signed: \(error)")
        }
    }
}

/// Encodings of points whose order divides eight: with such a "key" a signature holds for many messages.
enum SmallOrder {
    private static let keys: [[UInt8]] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ].compactMap { Hex.decode($0) }

    /// The sign bit does not matter.
    static func contains(_ key: [UInt8]) -> Bool {
        guard key.count == 32 else { return false }
        var plain = key
        plain[31] &= 0x7f
        return keys.contains(plain)
    }
}
