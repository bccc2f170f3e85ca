package import Crypto

/// What both ends have after the key exchange: a key for each direction, and what the exchange was. (Spec: §4.3, §4.4.)
package struct SessionKeys: Sendable {
    package static let transportVersion: UInt32 = 1
    private static let suite: (kem: UInt16, kdf: UInt16, aead: UInt16) = (HybridKEM.id, 0x0001, 0x0002)
    private static let keyBytes = 32

    /// From the initiator, the client, to the responder, the host.
    package let toResponder: SymmetricKey
    package let toInitiator: SymmetricKey
    /// SHA-256 over the public key and the encapsulation as sent and received; never on the wire.
    package let transcript: [UInt8]

    package init(secret: SymmetricKey, publicKey: [UInt8], encapsulation: [UInt8]) {
        self.init(secret: secret, publicKey: publicKey, encapsulation: encapsulation, suite: Self.suite)
    }

    /// With other ids, to show that they give other keys.
    package init(
        secret: SymmetricKey, publicKey: [UInt8], encapsulation: [UInt8],
        suite: (kem: UInt16, kdf: UInt16, aead: UInt16)
    ) {
        let schedule = KeySchedule<SHA256>(
            secret: secret, info: Array("backrest-sync-transport-v1".utf8), suite: suite)
        let label = "backrest-sync-session-key/v1/"
        toResponder = schedule.export(Array("\(label)initiator-to-responder".utf8), count: Self.keyBytes)
        toInitiator = schedule.export(Array("\(label)responder-to-initiator".utf8), count: Self.keyBytes)

        var hash = SHA256()
        hash.update(data: Array("backrest-sync-transport-transcript/v1".utf8) + [0])
        hash.update(data: BigEndian.bytes(Self.transportVersion))
        hash.update(data: BigEndian.prefixed(publicKey))
        hash.update(data: BigEndian.prefixed(encapsulation))
        transcript = Array(hash.finalize())
    }
}

/// Numbers and lengths as hashes take them.
enum BigEndian {
    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    /// The length in four bytes, then the bytes.
    static func prefixed(_ content: [UInt8]) -> [UInt8] { bytes(UInt32(content.count)) + content }
}
