package import Crypto

/// MLKEM1024-P384, KEM id 0x0051 of draft-ietf-hpke-pq: both parts must be broken to learn the secret.
///
/// Public key: ML-KEM-1024 encapsulation key (1568 bytes), P-384 point, uncompressed (97). Encapsulation: ML-KEM-1024
/// ciphertext (1568), ephemeral point (97). The secret is SHA3-256 over both secrets, the ephemeral point, the
/// recipient's point and a label. (Spec: backrest-sync §4.2.)
package enum HybridKEM {
    package static let id: UInt16 = 0x0051
    package static let publicKeyBytes = latticeBytes + pointBytes
    package static let encapsulationBytes = latticeBytes + pointBytes
    static let latticeBytes = 1568
    static let pointBytes = 97
    private static let uncompressed: UInt8 = 0x04

    /// Makes a secret that only the owner of `publicKey` can learn.
    ///
    /// - Throws: ``PeerSyncFailure`` (`authentication`) where the key is none: wrong length, a coefficient out of range,
    ///   a point that is compressed or not on the curve.
    package static func encapsulate(
        to publicKey: [UInt8]
    ) throws(PeerSyncFailure) -> (encapsulation: [UInt8], secret: SymmetricKey) {
        guard publicKey.count == publicKeyBytes else {
            throw PeerSyncFailure(.authentication, "a public key of \(publicKey.count) bytes")
        }
        let recipient = try point(publicKey[latticeBytes...])
        do {
            let lattice = try MLKEM1024.PublicKey(rawRepresentation: publicKey[..<latticeBytes])
            let sealed = try lattice.encapsulate()
            let ephemeral = P384.KeyAgreement.PrivateKey()
            let agreed = try ephemeral.sharedSecretFromKeyAgreement(with: recipient)
            let sent = Array(ephemeral.publicKey.x963Representation)
            let secret = combine(sealed.sharedSecret, agreed, sent: sent, recipient: publicKey[latticeBytes...])
            return (Array(sealed.encapsulated) + sent, secret)
        } catch {
            throw PeerSyncFailure(.authentication, "the public key is not one of this kind")
        }
    }

    static func point(_ bytes: ArraySlice<UInt8>) throws(PeerSyncFailure) -> P384.KeyAgreement.PublicKey {
        guard bytes.first == uncompressed, let key = try? P384.KeyAgreement.PublicKey(x963Representation: bytes) else {
            throw PeerSyncFailure(.authentication, "the point is not on the curve")
        }
        return key
    }

    static func combine(
        _ lattice: SymmetricKey, _ agreed: SharedSecret, sent: [UInt8], recipient: ArraySlice<UInt8>
    ) -> SymmetricKey {
        var hash = SHA3_256()
        lattice.withUnsafeBytes { hash.update(bufferPointer: $0) }
        agreed.withUnsafeBytes { hash.update(bufferPointer: $0) }
        hash.update(data: sent)
        hash.update(data: recipient)
        hash.update(data: Array("MLKEM1024-P384".utf8))
        return SymmetricKey(data: hash.finalize())
    }
}

/// A key pair for one session; its memory is erased when it goes.
package struct HybridPrivateKey: Sendable {
    private let lattice: MLKEM1024.PrivateKey
    private let curve: P384.KeyAgreement.PrivateKey
    package let publicKey: [UInt8]

    /// A fresh one.
    package init() throws {
        self.init(lattice: try MLKEM1024.PrivateKey.generate(), curve: P384.KeyAgreement.PrivateKey())
    }

    /// The one that vectors name: the 64 bytes `d‖z` of ML-KEM, and the scalar of P-384.
    package init(latticeSeed: [UInt8], scalar: [UInt8]) throws {
        self.init(
            lattice: try MLKEM1024.PrivateKey(seedRepresentation: latticeSeed, publicKey: nil),
            curve: try P384.KeyAgreement.PrivateKey(rawRepresentation: scalar))
    }

    private init(lattice: MLKEM1024.PrivateKey, curve: P384.KeyAgreement.PrivateKey) {
        self.lattice = lattice
        self.curve = curve
        publicKey = Array(lattice.publicKey.rawRepresentation) + Array(curve.publicKey.x963Representation)
    }

    /// The secret that was encapsulated to this key. A changed ML-KEM part gives no error but another secret.
    ///
    /// - Throws: ``PeerSyncFailure`` (`authentication`): wrong length, no point.
    package func open(_ encapsulation: [UInt8]) throws(PeerSyncFailure) -> SymmetricKey {
        guard encapsulation.count == HybridKEM.encapsulationBytes else {
            throw PeerSyncFailure(.authentication, "an encapsulation of \(encapsulation.count) bytes")
        }
        let sent = encapsulation[HybridKEM.latticeBytes...]
        let ephemeral = try HybridKEM.point(sent)
        do {
            let secret = try lattice.decapsulate(encapsulation[..<HybridKEM.latticeBytes])
            let agreed = try curve.sharedSecretFromKeyAgreement(with: ephemeral)
            return HybridKEM.combine(
                secret, agreed, sent: Array(sent), recipient: publicKey[HybridKEM.latticeBytes...])
        } catch {
            throw PeerSyncFailure(.authentication, "the encapsulation is not one of this kind")
        }
    }
}
