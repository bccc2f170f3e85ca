package import BackupFormats
import Crypto
private import CryptoExtras

/// The 32 bytes that encrypt a client's backups, and what follows from them.
///
/// The key itself is used for AES only. A second key, the id key, is derived
/// from it and serves digests, fingerprint and signatures. (Spec: formats §5.2 to §5.5.)
package struct EncryptionKey: Sendable {
    package static let byteCount = 32

    private let key: SymmetricKey
    private let idKey: [UInt8]
    package let fingerprint: KeyFingerprint

    /// - Returns: nil for any other count than 32 bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount,
            let idKey = try? KDF.Insecure.PBKDF2.deriveKey(
                from: bytes, salt: Array("_id_key".utf8), using: .sha256, outputByteCount: Self.byteCount,
                unsafeUncheckedRounds: 10)
        else { return nil }
        key = SymmetricKey(data: bytes)
        self.idKey = idKey.withUnsafeBytes { [UInt8]($0) }
        let label = SHA256.hash(data: Array("Proxmox Backup Encryption Key Fingerprint".utf8))
        fingerprint = KeyFingerprint(ChunkDigest(hashing: Array(label) + self.idKey))
    }

    /// A new random key.
    package static func generate() -> EncryptionKey {
        let bytes = SymmetricKey(size: .bits256).withUnsafeBytes { [UInt8]($0) }
        guard let key = EncryptionKey(bytes: bytes) else { preconditionFailure("32 bytes are a key") }
        return key
    }

    /// The 32 secret bytes, for key files only.
    package var bytes: [UInt8] { key.withUnsafeBytes { [UInt8]($0) } }

    /// The digest that names a chunk of this content in an encrypted backup.
    package func digest(of content: UnsafeRawBufferPointer) -> ChunkDigest {
        var hasher = SHA256()
        hasher.update(bufferPointer: content)
        hasher.update(data: idKey)
        return ChunkDigest(hasher.finalize())
    }

    package func digest(of content: [UInt8]) -> ChunkDigest {
        content.withUnsafeBytes { digest(of: $0) }
    }

    /// HMAC-SHA-256 of `bytes` under the id key.
    func authenticationCode(for bytes: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: bytes, using: SymmetricKey(data: idKey)))
    }

    func isValid(_ code: [UInt8], for bytes: [UInt8]) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: bytes, using: SymmetricKey(data: idKey))
    }

    /// Encrypts and authenticates `content` with a 16-byte IV and nothing beside it.
    func seal(
        _ content: UnsafeRawBufferPointer, iv: SIMD16<UInt8>
    ) -> (seal: DataBlobHeader.Seal, ciphertext: AES.GCM.SealedBox) {
        guard let nonce = try? AES.GCM.Nonce(data: iv.bytes),
            let box = try? AES.GCM.seal(content, using: key, nonce: nonce)
        else { preconditionFailure("AES-GCM takes 16-byte IVs and all content below 64 GiB") }
        return (DataBlobHeader.Seal(iv: iv, tag: SIMD16(box.tag)), box)
    }

    /// - Returns: nil where the tag does not fit: another key, or damage.
    func open(_ ciphertext: UnsafeRawBufferPointer, _ seal: DataBlobHeader.Seal) -> [UInt8]? {
        guard let nonce = try? AES.GCM.Nonce(data: seal.iv.bytes),
            let box = try? AES.GCM.SealedBox(nonce: nonce, ciphertext: ciphertext, tag: seal.tag.bytes),
            let content = try? AES.GCM.open(box, using: key)
        else { return nil }
        return [UInt8](content)
    }
}

extension SIMD16<UInt8> {
    var bytes: [UInt8] { (0..<16).map { self[$0] } }
}
