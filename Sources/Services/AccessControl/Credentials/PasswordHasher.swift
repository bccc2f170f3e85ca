import BackupFormats
import CCrypt
import Platform

/// Makes and verifies hashes of passwords in the forms of crypt(3). New ones are yescrypt. (Spec: rest D.6.)
///
/// A hash costs some 50 ms of a core and 16 MiB. At most one for each core runs, a bounded number waits; beyond that a
/// call fails with `unavailable` instead of making everybody wait. (Decision 9.)
package final class PasswordHasher: Sendable {
    /// Hashes that may wait for a core.
    package static let queueLimit = 64
    /// Longest password that is looked at, in bytes.
    package static let maxPasswordLength = 1024
    private static let prefix = "$y$"
    private static let cost: UInt = 5
    private static let saltByteCount = 32

    private let pool: WorkerPool

    package init(width: Int, queueLimit: Int = queueLimit) {
        pool = WorkerPool(name: "passwords", width: width, queueLimit: queueLimit)
    }

    /// A new hash of the password with a random salt.
    package func hash(_ password: String) async throws -> String {
        try await pool.run { try Self.hash(password) }
    }

    /// Whether `password` is the one below `hash`, whatever the scheme.
    package func verify(_ password: String, _ hash: String) async throws -> Bool {
        try await pool.run { Self.verify(password, hash) }
    }

    /// Whether a hash should be replaced by a new one when its password is known.
    package static func isOutdated(_ hash: String) -> Bool { !hash.hasPrefix(prefix) }

    static func hash(_ password: String) throws -> String {
        let salt = try SystemRandom.bytes(saltByteCount).map { CChar(bitPattern: $0) }
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        guard crypt_gensalt_rn(prefix, cost, salt, Int32(salt.count), &setting, Int32(setting.count)) != nil,
            let hash = crypt(password, setting)
        else { throw BackupFailure(.internalFault, "The password cannot be hashed") }
        return hash
    }

    static func verify(_ password: String, _ hash: String) -> Bool {
        guard let found = crypt(password, Array(hash.utf8CString)) else { return false }
        return isEqualInConstantTime(found.utf8, hash.utf8)
    }

    private static func crypt(_ password: String, _ setting: [CChar]) -> String? {
        // A zero byte would end the password early for C.
        guard password.utf8.count <= maxPasswordLength, !password.utf8.contains(0) else { return nil }
        let size = MemoryLayout<crypt_data>.size
        let data = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: MemoryLayout<crypt_data>.alignment)
        data.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        defer { data.deallocate() }
        guard let result = crypt_rn(password, setting, data, Int32(size)) else { return nil }
        let text = String(cString: result)
        return text.hasPrefix("*") ? nil : text
    }
}
