import AccessControl
import BackupFormats
import ManagementAPI

/// Says who calls, by all that the REST API takes, and by what clients of Backrest send:
/// `Authorization: Basic` with user and password, or a token's id and its secret; `Authorization: Bearer` with what
/// `Login` gave, or with `<token id>:<secret>`.
struct CallerLogin: Sendable {
    private static let defaultRealm = "pbs"
    private static let ticketPrefix = "PBS:"

    let access: AccessControl

    /// - Throws: ``BackupFailure``, as ``AccessControl`` does.
    func identify(_ request: RESTRequest) async throws -> Identity {
        guard let field = request.header("authorization") else { return try await asREST(request) }
        let parts = field.split(separator: " ", maxSplits: 1)
        switch parts.first?.lowercased() {
        case "basic" where parts.count == 2: return try await basic(String(parts[1]), request)
        case "bearer" where parts.count == 2: return try await bearer(String(parts[1]), request)
        default: return try await asREST(request)
        }
    }

    private func asREST(_ request: RESTRequest) async throws -> Identity {
        try await access.authenticate(method: request.method, headers: request.headers, peer: request.peer)
    }

    private func bearer(_ secret: String, _ request: RESTRequest) async throws -> Identity {
        try await secret.hasPrefix(Self.ticketPrefix) ? ticket(secret, request) : token(secret, request)
    }

    private func basic(_ encoded: String, _ request: RESTRequest) async throws -> Identity {
        guard let text = Base64.decode(encoded).flatMap({ String(validating: $0, as: UTF8.self) }),
            let colon = text.firstIndex(of: ":")
        else { throw BackupFailure(.notAuthenticated, "authentication failed - malformed credentials") }
        let user = String(text[..<colon])
        let password = String(text[text.index(after: colon)...])
        if user.contains("!") {
            return try await token("\(user):\(PercentCoding.encode(password))", request)
        }
        return try await ticket(try await logIn(user, password, from: request.peer), request)
    }

    /// A ticket for user and password, which counts as `Bearer`.
    ///
    /// - Parameter user: Without a realm it is one of our own.
    func logIn(_ user: String, _ password: String, from peer: String) async throws -> String {
        guard let id = AuthID(parsing: user.contains("@") ? user : "\(user)@\(Self.defaultRealm)") else {
            throw BackupFailure(.notAuthenticated, "permission check failed.")
        }
        return try await access.login(LoginRequest(userID: id, password: password, peer: peer)).ticket
    }

    /// No page of a browser can make it send this field to another site, so that there is nothing to protect from.
    private func ticket(_ ticket: String, _ request: RESTRequest) async throws -> Identity {
        try await access.authenticate(
            method: "GET", headers: [("cookie", "\(AuthCookie.name)=\(PercentCoding.encode(ticket))")],
            peer: request.peer)
    }

    private func token(_ secret: String, _ request: RESTRequest) async throws -> Identity {
        try await access.authenticate(
            method: request.method, headers: [("authorization", "PBSAPIToken=\(secret)")], peer: request.peer)
    }
}
