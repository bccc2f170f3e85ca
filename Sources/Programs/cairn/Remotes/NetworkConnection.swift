import BackupFormats
import BackupHTTP2
import BackupProtocol
import BackupServer
import Synchronization

/// One login at a remote. A user's ticket is renewed before it is too old.
final class NetworkConnection: RemoteConnection {
    private enum Credentials {
        case token(secret: String)
        /// `issued` in Unix seconds.
        case ticket(String, csrf: String, issued: Int64)
    }

    private static let root = "/api2/json"
    /// Bytes of an answer that are read at most.
    private static let answerLimit = 256 << 20
    /// Characters of a refusal that are handed on.
    private static let textLimit = 500
    /// Seconds after which a ticket buys a new one; it is good for two hours.
    private static let renewalAge: Int64 = 1800

    private let remote: Remote
    private let connection: ServerConnection
    private let time: TimeSource
    private let credentials: Mutex<Credentials>

    /// Logs in, and makes sure that a backup server answers.
    init(_ remote: Remote, _ connection: ServerConnection, _ time: TimeSource) async throws {
        self.remote = remote
        self.connection = connection
        self.time = time
        credentials = Mutex(.token(secret: remote.password))
        if !remote.authID.isToken { try await logIn(password: remote.password) }
        let version = try await call("GET", "/version", [:])
        guard version["version"]?.stringValue != nil else { throw foreign("its answer to GET /version is another") }
    }

    func call(_ method: String, _ path: String, _ parameters: JSONObject) async throws -> JSONValue {
        try await renew()
        var request = HTTPRequest(method: method, target: Self.root + path, headers: headers())
        if method == "POST" {
            request.headers.append(("content-type", "application/json"))
            request.body = Array(JSONValue.object(parameters).compactText.utf8)
        } else if !parameters.members.isEmpty {
            request.target += "?" + FormText.encode(Self.pairs(parameters))
        }
        return try await send(request)
    }

    func open(_ protocolID: ProtocolID, _ request: OpenRequest) async throws -> any BackupTransport {
        try await renew()
        do {
            return try await connection.upgrade(
                to: protocolID, query: FormText.encode(request.parameters(for: protocolID)), headers: headers())
        } catch let failure as BackupFailure {
            throw BackupFailure(
                failure.kind, "remote \(remote.label) opens no session on \(request.snapshot)", cause: failure)
        }
    }

    func close() async { await connection.close() }

    // MARK: - Requests

    private static func pairs(_ parameters: JSONObject) -> [(name: String, value: String)] {
        parameters.members.map { member in
            switch member.value {
            case .string(let text): (member.name, text)
            case .bool(let value): (member.name, value ? "1" : "0")
            default: (member.name, member.value.compactText)
            }
        }
    }

    private func send(_ request: HTTPRequest) async throws -> JSONValue {
        let response: HTTPResponse
        do {
            response = try await connection.send(request, limit: Self.answerLimit)
        } catch let failure as BackupFailure where failure.kind == .invalidInput {
            throw foreign("\(failure)")
        } catch let failure as BackupFailure {
            throw BackupFailure(failure.kind, "remote \(remote.label) does not answer", cause: failure)
        }
        guard response.status == 200 else { throw refusal(response) }
        guard let answer = try? JSONValue(parsing: response.bytes), let data = answer["data"] else {
            throw foreign("its answer to \(request.method) \(request.target.prefix(64)) is no JSON with data")
        }
        return data
    }

    private func refusal(_ response: HTTPResponse) -> BackupFailure {
        let text = String(decoding: response.bytes.prefix(Self.textLimit), as: UTF8.self)
            .split(whereSeparator: { $0.isNewline }).joined(separator: " ")
        let kind: BackupFailure.Kind =
            switch response.status {
            case 403: .notAuthorized
            case 404: .notFound
            // Whoever asked this server is known here; what the remote thinks of the login is a fact about the remote.
            default: .conflict
            }
        return BackupFailure(
            kind, "remote \(remote.label) refuses: \(text.isEmpty ? "status \(response.status)" : text)")
    }

    private func foreign(_ reason: String) -> BackupFailure {
        BackupFailure(.corruptData, "remote \(remote.label) does not answer like a backup server: \(reason)")
    }

    // MARK: - Credentials

    private func headers() -> [(name: String, value: String)] {
        credentials.withLock { credentials in
            switch credentials {
            case .token(let secret): [("authorization", "PBSAPIToken=\(remote.authID):\(secret)")]
            case .ticket(let ticket, let csrf, _):
                [("cookie", "PBSAuthCookie=\(FormText.encode(ticket))"), ("csrfpreventiontoken", csrf)]
            }
        }
    }

    /// - Parameter password: The password, or a ticket that is still good.
    private func logIn(password: String) async throws {
        let body: JSONValue = ["username": .string("\(remote.authID)"), "password": .string(password)]
        let request = HTTPRequest(
            method: "POST", target: Self.root + "/access/ticket", headers: [("content-type", "application/json")],
            body: Array(body.compactText.utf8))
        let data: JSONValue
        do { data = try await send(request) } catch let failure as BackupFailure where failure.kind == .conflict {
            throw BackupFailure(.conflict, "\(remote.authID) cannot log in at remote \(remote.label)", cause: failure)
        }
        guard let ticket = data["ticket"]?.stringValue, let csrf = data["CSRFPreventionToken"]?.stringValue else {
            throw foreign("its answer to the login has no ticket")
        }
        guard !ticket.contains("!tfa!") else {
            throw BackupFailure(
                .unsupported, "\(remote.authID) needs a second factor at remote \(remote.label); use an API token")
        }
        credentials.withLock { $0 = .ticket(ticket, csrf: csrf, issued: time.seconds) }
    }

    private func renew() async throws {
        let old = credentials.withLock { credentials -> String? in
            guard case .ticket(let ticket, _, let issued) = credentials, time.seconds - issued > Self.renewalAge else {
                return nil
            }
            return ticket
        }
        guard let old else { return }
        do { try await logIn(password: old) } catch let failure as BackupFailure where failure.kind == .conflict {
            // The old ticket may be beyond its time after a long pause.
            try await logIn(password: remote.password)
        }
    }
}
