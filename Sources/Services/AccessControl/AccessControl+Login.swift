package import BackupFormats
import Logging
import StateDatabase

/// What `POST /access/ticket` was sent. (Spec: rest D.2.)
package struct LoginRequest: Sendable {
    /// Never a token.
    package var userID: AuthID
    /// A password, or a ticket that is to be renewed. May be missing where a cookie renews.
    package var password: String?
    /// The partial ticket that is being answered.
    package var tfaChallenge: String?
    /// Whether the new ticket goes into a cookie that scripts cannot read.
    package var isHTTPOnly: Bool
    /// Whether path, privileges and port of a terminal's ticket are to be checked.
    package var isTerminalCheck: Bool
    /// The request's headers, names in lower case; the cookie of ``isHTTPOnly`` renewals is taken from them.
    package var headers: [(name: String, value: String)]
    package var peer: String

    package init(
        userID: AuthID, password: String?, tfaChallenge: String? = nil, isHTTPOnly: Bool = false,
        isTerminalCheck: Bool = false, headers: [(name: String, value: String)] = [], peer: String
    ) {
        self.userID = userID
        self.password = password
        self.tfaChallenge = tfaChallenge
        self.isHTTPOnly = isHTTPOnly
        self.isTerminalCheck = isTerminalCheck
        self.headers = headers
        self.peer = peer
    }
}

/// What a login gives.
package struct LoginResult: Sendable {
    package let userID: AuthID
    package let ticket: String
    /// The ticket with its signature blotted out, for answers whose ticket is in a cookie.
    package let ticketInfo: String
    package let csrfToken: String
}

extension AccessControl {
    /// Checks a password or renews a ticket.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthenticated` with one and the same text for every reason (the real one
    ///   is in the authentication log), `unavailable` where too many hashes wait, `unsupported` for the answer to a
    ///   second factor.
    package func login(_ request: LoginRequest) async throws -> LoginResult {
        guard request.tfaChallenge == nil else {
            throw BackupFailure(.unsupported, "Second factors are not supported yet")
        }
        let id = request.userID
        do {
            try await prove(request)
        } catch let fault as CredentialFault {
            log.notice(
                "login failed", metadata: ["user": "\(id)", "peer": "\(request.peer)", "reason": "\(fault.reason)"])
            throw BackupFailure(.notAuthenticated, "permission check failed.")
        }
        log.info("login", metadata: ["user": "\(id)", "peer": "\(request.peer)"])
        let now = time.seconds
        let ticket = try Ticket.login(id, at: now, keys: keys)
        return LoginResult(
            userID: id, ticket: ticket, ticketInfo: Ticket.info(of: ticket), csrfToken: csrf.token(for: id, at: now))
    }

    private func prove(_ request: LoginRequest) async throws {
        // There are no terminals, hence no tickets for one.
        guard !request.isTerminalCheck else { throw CredentialFault("no such terminal") }
        let now = time.seconds
        let id = request.userID
        guard !id.isToken, let user = current.user(id), current.isActive(id, at: now) else {
            return try await guarded(id, from: request.peer) {
                throw CredentialFault("user missing, disabled or expired")
            }
        }
        if request.isHTTPOnly, case .ticket(let ticket, _) = RequestCredentials(headers: request.headers) {
            do {
                return try renew(ticket, id, now)
            } catch {
                guard request.password != nil else { throw error }
            }
        }
        guard let password = request.password else { throw CredentialFault("no password") }
        if password.hasPrefix("\(Ticket.loginPrefix):"), !request.isHTTPOnly {
            return try renew(password, id, now)
        }
        try await guarded(id, from: request.peer) { try await verify(password, of: user) }
    }

    private func renew(_ ticket: String, _ id: AuthID, _ now: Int64) throws(CredentialFault) {
        guard try Ticket(parsing: ticket).verifiedUser(at: now, keys: keys) == id else {
            throw CredentialFault("ticket of another user")
        }
    }

    /// Checks a password, and replaces a hash of an old scheme.
    func verify(_ password: String, of user: UserRecord) async throws {
        guard user.id.realm == Realm.pbs.rawValue, let hash = user.passwordHash else {
            throw CredentialFault("the user has no password")
        }
        guard try await hashing.verify(password, hash) else { throw CredentialFault("invalid password") }
        guard PasswordHasher.isOutdated(hash), let fresh = try? await hashing.hash(password) else { return }
        do {
            try change { writer, state in
                guard var stored = state.user(user.id), stored.passwordHash == hash else { return }
                stored.passwordHash = fresh
                try writer.put(stored)
            }
        } catch {
            log.warning("password hash not renewed", metadata: ["user": "\(user.id)", "reason": "\(error)"])
        }
    }
}
