package import Crypto

/// The two-stage key schedule of RFC 9180 in base mode, for exports only. (RFC 9180 §5.1, §5.3; spec: §4.3.)
package struct KeySchedule<Hash: HashFunction>: Sendable {
    private let suite: [UInt8]
    private let exporterSecret: SymmetricKey

    /// - Parameters:
    ///   - secret: What the KEM gave.
    ///   - suite: The ids of KEM, KDF and AEAD; others give other keys.
    package init(secret: SymmetricKey, info: [UInt8], suite ids: (kem: UInt16, kdf: UInt16, aead: UInt16)) {
        var suite = Array("HPKE".utf8)
        for id in [ids.kem, ids.kdf, ids.aead] { suite += [UInt8(id >> 8), UInt8(id & 0xff)] }
        self.suite = suite
        let none = SymmetricKey(data: [UInt8]())
        let idHash = Self.extract(suite, salt: none, "psk_id_hash", [])
        let infoHash = Self.extract(suite, salt: none, "info_hash", info)
        var context: [UInt8] = [0]
        idHash.withUnsafeBytes { context += $0 }
        infoHash.withUnsafeBytes { context += $0 }
        let scheduled = Self.extract(suite, salt: secret, "secret", [])
        exporterSecret = Self.expand(suite, scheduled, "exp", context, count: Hash.Digest.byteCount)
    }

    /// A key of `count` bytes for this context.
    package func export(_ context: [UInt8], count: Int) -> SymmetricKey {
        Self.expand(suite, exporterSecret, "sec", context, count: count)
    }

    private static func extract(
        _ suite: [UInt8], salt: SymmetricKey, _ label: String, _ input: [UInt8]
    ) -> SymmetricKey {
        let labeled = SymmetricKey(data: Array("HPKE-v1".utf8) + suite + Array(label.utf8) + input)
        let code = salt.withUnsafeBytes { HKDF<Hash>.extract(inputKeyMaterial: labeled, salt: Array($0)) }
        return code.withUnsafeBytes { SymmetricKey(data: $0) }
    }

    private static func expand(
        _ suite: [UInt8], _ key: SymmetricKey, _ label: String, _ info: [UInt8], count: Int
    ) -> SymmetricKey {
        let length = [UInt8(count >> 8 & 0xff), UInt8(count & 0xff)]
        return HKDF<Hash>.expand(
            pseudoRandomKey: key, info: length + Array("HPKE-v1".utf8) + suite + Array(label.utf8) + info,
            outputByteCount: count)
    }
}
