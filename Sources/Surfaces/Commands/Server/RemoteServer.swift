import BackupClient
package import BackupFormats
package import BackupHTTP2
package import BackupProtocol
import Platform
import Synchronization

/// A server that somebody has logged in to: its REST API as functions, and the way to sessions.
package final class RemoteServer: Sendable {
    /// How requests say who sends them.
    enum Credentials: Sendable {
        /// An API token.
        case token(AuthID, secret: String)
        case ticket(LoginTicket, of: AuthID)
        /// The owner of a server on this machine, by the secret in its state folder.
        case local(secret: String)
    }

    static let apiRoot = "/api2/json"
    /// Answers above this are refused.
    static let answerLimit = 256 << 20
    private static let pieceBytes = 64 << 10

    let connection: ServerConnection
    private let credentials: Mutex<Credentials>
    private let time: TimeSource

    init(connection: ServerConnection, credentials: Credentials, time: TimeSource = .system) {
        self.connection = connection
        self.credentials = Mutex(credentials)
        self.time = time
    }

    package var address: ServerAddress { connection.address }

    // MARK: - REST

    /// `data` of the answer. Parameters go into the query for GET and DELETE and into a JSON body for POST and PUT: a
    /// query is short, and servers write it into logs.
    ///
    /// - Throws: ``BackupFailure`` with `trying` as summary and the server's text as cause.
    @discardableResult
    package func call(
        _ method: String, _ path: String, _ parameters: JSONObject = [:], trying: @autoclosure () -> String
    ) async throws -> JSONValue {
        try await answer(method, path, parameters, trying: trying())["data"] ?? .null
    }

    /// The whole answer with the members beside `data`.
    package func answer(
        _ method: String, _ path: String, _ parameters: JSONObject = [:], trying: @autoclosure () -> String
    ) async throws -> JSONValue {
        var request = HTTPRequest(method: method, target: Self.apiRoot + path)
        if method == "POST" || method == "PUT" {
            request.headers.append(("content-type", "application/json"))
            request.body = Array(JSONValue.object(parameters).compactText.utf8)
        } else if !parameters.members.isEmpty {
            request.target += "?" + FormText.encode(Self.queryItems(parameters))
        }
        return try await send(request, trying: trying())
    }

    /// Sends raw bytes; parameters go into the query.
    func upload(
        _ body: [UInt8], to path: String, _ parameters: JSONObject, trying: @autoclosure () -> String
    ) async throws {
        let query = FormText.encode(Self.queryItems(parameters))
        _ = try await send(
            HTTPRequest(
                method: "POST", target: "\(Self.apiRoot)\(path)?\(query)",
                headers: [("content-type", "application/octet-stream")], body: body), trying: trying())
    }

    /// Asks for text that comes while it is made, and hands it on piece by piece.
    func read(
        _ path: String, _ parameters: JSONObject, trying: @autoclosure () -> String, consume: ([UInt8]) throws -> Void
    ) async throws {
        try await renewTicket()
        var request = HTTPRequest(target: Self.apiRoot + path, headers: headers())
        if !parameters.members.isEmpty { request.target += "?" + FormText.encode(Self.queryItems(parameters)) }
        var response = try await connection.stream(request)
        guard response.status == 200 else {
            let whole = BackupResponse(status: response.status, contentType: nil, body: response.body)
            response.body = .bytes(try await whole.collect(limit: Self.answerLimit))
            let failure = ServerAnswer.failure(response)
            throw BackupFailure(failure.kind, trying(), hints: failure.hints, cause: failure)
        }
        switch response.body {
        case .bytes(let bytes): try consume(bytes)
        case .stream(let source, _):
            while let piece = try await source.read(upTo: Self.pieceBytes) { try consume(piece) }
        }
    }

    private func send(_ request: HTTPRequest, trying: @autoclosure () -> String) async throws -> JSONValue {
        try await renewTicket()
        var request = request
        request.headers += headers()
        let response = try await connection.send(request, limit: Self.answerLimit)
        guard response.status == 200 else {
            let failure = ServerAnswer.failure(response)
            throw BackupFailure(failure.kind, trying(), hints: failure.hints, cause: failure)
        }
        guard !response.bytes.isEmpty else { return .null }
        do { return try JSONValue(parsing: response.bytes) } catch {
            throw BackupFailure(.corruptData, "\(trying()): the answer is no JSON", cause: error)
        }
    }

    /// Booleans as 1 and 0, arrays as repeated keys.
    private static func queryItems(_ parameters: JSONObject) -> [(name: String, value: String)] {
        parameters.members.flatMap { member -> [(String, String)] in
            let values = member.value.arrayValue ?? [member.value]
            return values.map { (member.name, text($0)) }
        }
    }

    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .bool(let isTrue): isTrue ? "1" : "0"
        case .string(let text): text
        default: value.compactText
        }
    }

    // MARK: - Sessions

    /// Opens a session; `query` names store, namespace and snapshot.
    package func openSession(
        _ protocolID: ProtocolID, _ parameters: JSONObject, trying: @autoclosure () -> String
    ) async throws -> any BackupTransport {
        try await renewTicket()
        do {
            return try await connection.upgrade(
                to: protocolID, query: FormText.encode(Self.queryItems(parameters)), headers: headers())
        } catch let failure as BackupFailure {
            throw BackupFailure(
                failure.kind, trying(), hints: failure.hints + ServerAnswer.hints(for: failure.kind), cause: failure)
        }
    }

    package func close() async { await connection.close() }

    /// Runs `body` and closes the connection, whatever comes of it.
    func closed<Value>(after body: (RemoteServer) async throws -> Value) async throws -> Value {
        do {
            let value = try await body(self)
            await close()
            return value
        } catch {
            await close()
            throw error
        }
    }

    // MARK: - Credentials

    private func headers() -> [(name: String, value: String)] {
        credentials.withLock { credentials in
            switch credentials {
            case .token(let id, let secret): [("authorization", "PBSAPIToken \(id):\(FormText.encode(secret))")]
            case .local(let secret): [("authorization", "CairnLocal \(secret)")]
            case .ticket(let ticket, _):
                [
                    ("cookie", "PBSAuthCookie=\(FormText.encode(ticket.ticket))"),
                    ("csrfpreventiontoken", ticket.csrf),
                ]
            }
        }
    }

    /// Long commands outlive a ticket: after a quarter of an hour the old one buys a new one.
    private func renewTicket() async throws {
        let old: (ticket: LoginTicket, user: AuthID)? = credentials.withLock {
            if case .ticket(let ticket, let user) = $0 { (ticket, user) } else { nil }
        }
        guard let old, time.seconds - old.ticket.issued > LoginTicket.renewalAge else { return }
        let ticket = try await Login.ticket(for: old.user, password: old.ticket.ticket, over: connection, time: time)
        credentials.withLock { $0 = .ticket(ticket, of: old.user) }
    }
}
