import BackupFormats
import Logging
import Synchronization

extension AccessControl {
    /// Logins that may wait for their turn at once; further ones are told to come again.
    private static let waitingLimit = 256

    /// Checks a password or another secret that can be guessed, slowly where there were many failures.
    ///
    /// - Throws: ``CredentialFault`` of the check, or where the account is locked for the address; ``BackupFailure``
    ///   of kind `unavailable` where too many wait.
    func guarded(_ account: AuthID, from peer: String, _ check: () async throws -> Void) async throws {
        let network = PeerNetwork.of(peer)
        switch guesses.withLock({ $0.guard.verdict(account, from: network, at: time.seconds) }) {
        case .locked(let until): throw Self.locked(until - time.seconds)
        case .check(let seconds) where seconds > 0: try await wait(seconds, account, peer)
        case .check: break
        }
        do {
            try await check()
        } catch let fault as CredentialFault {
            if guesses.withLock({ $0.guard.failed(account, from: network, at: time.seconds) }) {
                log.warning(
                    "account locked for an address after \(LoginGuard.lockThreshold) failures",
                    metadata: ["user": "\(account)", "address": "\(network)", "seconds": "\(LoginGuard.memory)"])
            }
            throw fault
        }
        // Many guesses at the same moment would otherwise all have been made before the first was counted.
        if case .locked(let until) = guesses.withLock({ $0.guard.verdict(account, from: network, at: time.seconds) }) {
            throw Self.locked(until - time.seconds)
        }
        guesses.withLock { $0.guard.succeeded(account, from: network) }
    }

    /// Lifts the lock that failures have put on an account.
    func forgetFailures(of account: AuthID) {
        guesses.withLock { $0.guard.forget(account) }
    }

    private static func locked(_ seconds: Int64) -> CredentialFault {
        CredentialFault("locked for this address for \(max(0, seconds)) more seconds after many failures")
    }

    private func wait(_ seconds: Int64, _ account: AuthID, _ peer: String) async throws {
        let mayWait = guesses.withLock { guesses in
            guard guesses.waiting < Self.waitingLimit else { return false }
            guesses.waiting += 1
            return true
        }
        guard mayWait else { throw BackupFailure(.unavailable, "too many logins are waiting; try again later") }
        defer { guesses.withLock { $0.waiting -= 1 } }
        log.notice("login slowed", metadata: ["user": "\(account)", "peer": "\(peer)", "seconds": "\(seconds)"])
        try await pause(.seconds(seconds))
    }
}

/// What is known about guessing.
struct Guesses: Sendable {
    var `guard` = LoginGuard()
    /// Logins that wait at this moment.
    var waiting = 0
}
