import BackupFormats
import Crypto
import Logging
import StateDatabase
import Synchronization

extension AccessControl {
    /// Says who sends a request.
    ///
    /// A cookie wins over the Authorization header. With a cookie, every method but GET needs the CSRF header.
    ///
    /// - Parameters:
    ///   - headers: In order of arrival, names in lower case.
    ///   - peer: The address that the request came from, with or without port.
    /// - Throws: ``BackupFailure`` of kind `notAuthenticated` (the answer is delayed by whoever gives it), or
    ///   `unavailable` where too many hashes wait.
    package func authenticate(
        method: String, headers: [(name: String, value: String)], peer: String
    ) async throws -> Identity {
        do {
            switch RequestCredentials(headers: headers) {
            case .none: throw CredentialFault("no authentication credentials provided.")
            case .ticket(let ticket, let csrf):
                return try identity(ofTicket: ticket, csrf: method == "GET" ? .none : .some(csrf))
            case .token(let text): return try await identity(ofToken: text)
            case .local(let secret):
                try localAdmin.verify(secret, peer: peer, headers: headers)
                return Identity(authID: .root, proof: .local)
            }
        } catch let fault as CredentialFault {
            log.info("authentication failed", metadata: ["peer": "\(peer)", "reason": "\(fault.reason)"])
            throw BackupFailure(.notAuthenticated, "authentication failed - \(fault.reason)")
        }
    }

    /// Acts as `root@pam` for callers inside this process that have made sure of their own that they may.
    package func inProcessRoot() -> Identity { Identity(authID: .root, proof: .inProcess) }

    /// - Parameter csrf: What a writing request brought, nil where it brought nothing; no value for reading ones.
    private func identity(ofTicket text: String, csrf: String??) throws(CredentialFault) -> Identity {
        let now = time.seconds
        let user = try Ticket(parsing: text).verifiedUser(at: now, keys: keys)
        guard current.isActive(user, at: now) else { throw CredentialFault("user account disabled or expired.") }
        if let csrf {
            guard let token = csrf else { throw CredentialFault("missing CSRF prevention token") }
            try self.csrf.verify(token, of: user, at: now)
        }
        return Identity(authID: user, proof: .ticket)
    }

    private func identity(ofToken text: String) async throws -> Identity {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw CredentialFault("invalid API token: no secret") }
        guard let id = AuthID(parsing: parts[0]) else { throw CredentialFault("invalid token id") }
        guard id.isToken else { throw CredentialFault("not an API token ID") }
        let state = current
        guard state.isActive(id, at: time.seconds), let token = state.token(id) else {
            throw CredentialFault("user account or token disabled or expired.")
        }
        guard let secret = Percent.decode(parts[1]), try await isSecret(secret, of: token) else {
            throw CredentialFault("invalid credentials")
        }
        return Identity(authID: id, proof: .token)
    }

    /// Compares with the stored SHA-256, or, for an imported token, with a slow hash; a secret that was verified once
    /// is remembered by its SHA-256 until the stored hash changes.
    private func isSecret(_ secret: String, of token: TokenRecord) async throws -> Bool {
        let digest = TokenSecret.digest(secret)
        if let stored = TokenSecret.digest(inStored: token.secretHash) { return isEqualInConstantTime(stored, digest) }
        let known = verifiedSecrets.withLock { $0[token.id] }
        if let known, known.storedHash == token.secretHash, isEqualInConstantTime(known.digest, digest) { return true }
        guard try await hashing.verify(secret, token.secretHash) else { return false }
        verifiedSecrets.withLock {
            $0[token.id] = VerifiedSecret(storedHash: token.secretHash, digest: digest)
        }
        return true
    }

    /// Publishes where the server listens, for the owner's commands: `server.json` and a new local secret.
    ///
    /// - Parameters:
    ///   - address: `127.0.0.1:8007`, the loopback form of where the server listens.
    ///   - fingerprint: SHA-256 of the certificate, as clients print it.
    package func publishLocalAdmin(address: String, fingerprint: String, pid: Int32) throws {
        try localAdmin.publish(address: address, fingerprint: fingerprint, pid: pid)
    }

    /// Takes both files away again; the local secret no longer counts.
    package func withdrawLocalAdmin() throws { try localAdmin.withdraw() }
}

/// Secrets of API tokens: random, so a fast hash is enough to store them. (Decision 9.)
enum TokenSecret {
    private static let prefix = "sha256:"

    static func digest(_ secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }

    static func stored(_ secret: String) -> String { prefix + Hex.encode(digest(secret)) }

    /// The digest in what is stored; nil for imported hashes.
    static func digest(inStored text: String) -> [UInt8]? {
        text.hasPrefix(prefix) ? Hex.decode(text.dropFirst(prefix.count)) : nil
    }
}
