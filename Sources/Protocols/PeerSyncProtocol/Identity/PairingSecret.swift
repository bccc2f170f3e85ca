import Crypto

/// A secret that the hub gave out, as it is kept: only its hash. (Spec: backrest-sync §4.8.)
package struct PairingSecret: Sendable {
    package static let randomBytes = 32

    /// SHA-256 of it.
    package let hash: [UInt8]
    /// Unix seconds; 0: never. The second itself is still good.
    package let expires: Int64
    /// 0: any number of times.
    package let maxUses: Int
    package let uses: Int

    package init(secret: String, expires: Int64, maxUses: Int, uses: Int) {
        self.init(hash: Self.hash(of: secret), expires: expires, maxUses: maxUses, uses: uses)
    }

    package init(hash: [UInt8], expires: Int64, maxUses: Int, uses: Int) {
        self.hash = hash
        self.expires = expires
        self.maxUses = maxUses
        self.uses = uses
    }

    package static func hash(of secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }

    /// Whether `presented` is this secret and may be used now. Compares in constant time.
    package func accepts(_ presented: String, now: Int64) -> Bool {
        guard !presented.isEmpty, SHA256.hash(data: Array(presented.utf8)) == hash else { return false }
        return (expires <= 0 || now <= expires) && (maxUses <= 0 || uses < maxUses)
    }
}
