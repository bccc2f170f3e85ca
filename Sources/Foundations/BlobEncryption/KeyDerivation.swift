package import BackupFormats
private import Crypto
private import CryptoExtras

/// How a passphrase becomes the key that protects a key file. Stored parameters are honoured up to
/// limits, so that a hostile file cannot take all memory or time.
package enum KeyDerivation: Hashable, Sendable {
    case scrypt(n: UInt64, r: UInt64, p: UInt64, salt: [UInt8])
    case pbkdf2(iterations: UInt64, salt: [UInt8])

    /// Memory that scrypt takes at most, the limit of the reference software.
    package static let maxScryptByteCount: UInt64 = 1025 << 20
    /// n · r · p at most: 128 times what ``standardScrypt(salt:)`` costs.
    package static let maxScryptCost: UInt64 = 1 << 26
    package static let maxIterations: UInt64 = 10_000_000
    package static let maxSaltByteCount = 1024

    package static func standardScrypt(salt: [UInt8]) -> KeyDerivation { .scrypt(n: 65_536, r: 8, p: 1, salt: salt) }
    package static func standardPBKDF2(salt: [UInt8]) -> KeyDerivation { .pbkdf2(iterations: 65_535, salt: salt) }

    /// The 32 bytes that the passphrase becomes.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the parameters are wrong or above the limits.
    package func key(for passphrase: [UInt8]) throws(BackupFailure) -> [UInt8] {
        try check()
        do {
            let key =
                switch self {
                case .scrypt(let n, let r, let p, let salt):
                    try KDF.Scrypt.deriveKey(
                        from: passphrase, salt: salt, outputByteCount: 32, rounds: Int(n), blockSize: Int(r),
                        parallelism: Int(p))
                case .pbkdf2(let iterations, let salt):
                    try KDF.Insecure.PBKDF2.deriveKey(
                        from: passphrase, salt: salt, using: .sha256, outputByteCount: 32,
                        unsafeUncheckedRounds: Int(iterations))
                }
            return key.withUnsafeBytes { [UInt8]($0) }
        } catch {
            throw BackupFailure(.invalidInput, "The key derivation refuses its parameters", cause: error)
        }
    }

    private func check() throws(BackupFailure) {
        let isFine =
            switch self {
            case .scrypt(let n, let r, let p, let salt):
                n > 1 && n & (n - 1) == 0 && r > 0 && p > 0 && salt.count <= Self.maxSaltByteCount
                    && Self.product(n, r, 128).map { $0 <= Self.maxScryptByteCount } == true
                    && Self.product(n, r, p).map { $0 <= Self.maxScryptCost } == true
            case .pbkdf2(let iterations, let salt):
                (1...Self.maxIterations).contains(iterations) && salt.count <= Self.maxSaltByteCount
            }
        guard isFine else {
            throw BackupFailure(.invalidInput, "The parameters of the key derivation are wrong or above the limits")
        }
    }

    private static func product(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64? {
        let (ab, overflow) = a.multipliedReportingOverflow(by: b)
        guard !overflow else { return nil }
        let (abc, overflowAgain) = ab.multipliedReportingOverflow(by: c)
        return overflowAgain ? nil : abc
    }
}

/// Random bytes of the system's source, for salts.
func randomBytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: 0...255) }
}
