package import BackupFormats
package import Logging
package import StateDatabase
import Synchronization

/// Users, tokens, tickets, roles: who asks, and may they?
///
/// Questions are answered from memory and never wait. Changes go through the database, one transaction each, and are in
/// force when the call returns.
package final class AccessControl: Sendable {
    let database: StateDatabase
    let hashing: PasswordHasher
    let time: TimeSource
    let log: Logger
    let keys: TicketKeys
    let csrf: CSRFSecret
    let localAdmin: LocalAdmin
    /// SHA-256 of secrets of imported tokens that have been verified, by the stored hash.
    let verifiedSecrets = Mutex<[AuthID: VerifiedSecret]>([:])
    let guesses = Mutex(Guesses())
    /// How slowed logins wait.
    let pause: @Sendable (Duration) async throws -> Void
    /// Every change that came over the API.
    package let audit: AuditLog
    private let state: Mutex<AccessState>
    private let changing = Mutex(())

    struct VerifiedSecret: Sendable {
        let storedHash: String
        let digest: [UInt8]
    }

    /// Reads the state, and makes the server's keys where there are none.
    ///
    /// - Parameters:
    ///   - log: The authentication log: one line for each login and each refusal.
    ///   - pause: How logins wait that are slowed after many failures.
    package init(
        database: StateDatabase, hashing: PasswordHasher, time: TimeSource, log: Logger,
        pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) throws {
        self.database = database
        self.hashing = hashing
        self.time = time
        self.log = log
        self.pause = pause
        audit = AuditLog(folder: database.folder)
        keys = try TicketKeys(folder: database.folder)
        csrf = try CSRFSecret(folder: database.folder)
        localAdmin = LocalAdmin(folder: database.folder)
        state = Mutex(try database.read { try AccessState($0) })
    }

    /// What is in force now.
    var current: AccessState { state.withLock { $0 } }

    /// Runs a transaction and puts its outcome into force.
    func change<Value: Sendable>(_ body: (StateWriter, AccessState) throws -> Value) throws -> Value {
        // One change at a time from the transaction to the exchange, so that no older state replaces a newer one.
        try changing.withLock { _ in
            let (value, next) = try database.write { writer in
                let value = try body(writer, try AccessState(writer))
                return (value, try AccessState(writer))
            }
            state.withLock { $0 = next }
            return value
        }
    }

    /// Reads the state again, for example after another process has changed it.
    package func reload() throws {
        let next = try database.read { try AccessState($0) }
        state.withLock { $0 = next }
    }
}
