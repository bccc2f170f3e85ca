import BackupFormats
package import BackupProtocol
import NIOConcurrencyHelpers
import NIOCore

/// A client's way to one server: REST requests over HTTP/1.1 and TLS, and the upgrade to a session.
///
/// Any number of tasks may use it. A request takes the connection that is idle, or opens one; an
/// upgrade takes its connection with it.
package final class ServerConnection: Sendable {
    /// Largest answer that ``send(_:limit:)`` collects unless told otherwise.
    package static let answerLimit = 64 * 1024 * 1024

    private struct State {
        var idle: Connector.Opened?
        var fingerprint: CertificateFingerprint?
        var isClosed = false
    }

    package let address: ServerAddress
    private let options: ConnectionOptions
    private let connector: Connector
    private let state = NIOLockedValueBox(State())

    private init(address: ServerAddress, options: ConnectionOptions, connector: Connector) {
        self.address = address
        self.options = options
        self.connector = connector
    }

    deinit { state.withLockedValue { $0.idle }?.channel.close(promise: nil) }

    /// Connects and checks the certificate.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where nobody answers in time, `notAuthenticated` with an
    ///   ``UntrustedCertificate`` as cause where the certificate is not trusted.
    package static func connect(
        to address: ServerAddress, trust: ServerTrust, options: ConnectionOptions = ConnectionOptions()
    ) async throws -> ServerConnection {
        let connector = try Connector(address: address, trust: trust, options: options)
        let connection = ServerConnection(address: address, options: options, connector: connector)
        connection.keep(try await connection.open())
        return connection
    }

    /// The certificate that the server showed last.
    package var fingerprint: CertificateFingerprint? { state.withLockedValue { $0.fingerprint } }

    /// Sends a request and collects its answer.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the connection fails or the time is over,
    ///   `invalidInput` where the answer is longer than `limit`. Any status is an answer.
    package func send(_ request: HTTPRequest, limit: Int = answerLimit) async throws -> HTTPResponse {
        let (outcome, opened) = try await exchange(request, asksUpgrade: false, isStreamed: false)
        var response = try answer(outcome)
        let whole = BackupResponse(status: response.status, contentType: nil, body: response.body)
        response.body = .bytes(try await whole.collect(limit: limit))
        keep(opened)
        return response
    }

    /// Sends a request and gives its answer as soon as the head is there; the body comes as a stream.
    /// Dropping it unread closes its connection.
    package func stream(_ request: HTTPRequest) async throws -> HTTPResponse {
        var request = request
        request.headers.append(("connection", "close"))
        let (outcome, _) = try await exchange(request, asksUpgrade: false, isStreamed: true)
        return try answer(outcome)
    }

    /// Asks for a session and switches to HTTP/2.
    ///
    /// - Parameters:
    ///   - path: By default `/api2/json/backup` or `/api2/json/reader`, as the protocol says.
    ///   - query: Encoded, without the question mark.
    ///   - headers: The credentials.
    /// - Throws: ``BackupFailure`` with the server's text where it refuses; its kind follows the status.
    package func upgrade(
        to protocolID: ProtocolID, path: String? = nil, query: String, headers: [(name: String, value: String)]
    ) async throws -> any BackupTransport {
        let path = path ?? (protocolID == .backup ? "/api2/json/backup" : "/api2/json/reader")
        let upgrade = [(name: "connection", value: "upgrade"), (name: "upgrade", value: protocolID.rawValue)]
        let request = HTTPRequest(target: query.isEmpty ? path : "\(path)?\(query)", headers: headers + upgrade)
        let (outcome, opened) = try await exchange(request, asksUpgrade: true, isStreamed: false)
        switch outcome {
        case .transport(let transport): return transport
        case .answer(let response):
            let refusal = BackupResponse(status: response.status, contentType: nil, body: response.body)
            let failure = await refusal.failure()
            keep(opened)
            throw failure ?? BackupFailure(.unavailable, "\(address) answered without opening the session")
        }
    }

    /// Closes the connection where it is idle; running requests end by themselves.
    package func close() async {
        let opened = state.withLockedValue { state in
            state.isClosed = true
            defer { state.idle = nil }
            return state.idle
        }
        try? await opened?.channel.close()
    }

    // MARK: Connections

    private func open() async throws -> Connector.Opened {
        let opened = try await connector.open()
        state.withLockedValue { $0.fingerprint = opened.fingerprint ?? $0.fingerprint }
        return opened
    }

    private func keep(_ opened: Connector.Opened) {
        let isKept = state.withLockedValue { state in
            guard !state.isClosed, state.idle == nil, opened.channel.isActive else { return false }
            state.idle = opened
            return true
        }
        if !isKept { opened.channel.close(promise: nil) }
    }

    private func takeIdle() async throws -> Connector.Opened? {
        let opened = state.withLockedValue { state in
            defer { state.idle = nil }
            return state.idle
        }
        guard let opened else { return nil }
        let isUsable = try await opened.channel.eventLoop.submit { opened.handler.value.isIdle }.get()
        return isUsable ? opened : nil
    }

    private func exchange(
        _ request: HTTPRequest, asksUpgrade: Bool, isStreamed: Bool
    ) async throws -> (HTTP1ClientHandler.Outcome, Connector.Opened) {
        if let opened = try await takeIdle() {
            do {
                return (try await run(request, on: opened, asksUpgrade: asksUpgrade, isStreamed: isStreamed), opened)
            } catch let failure as BackupFailure
                where failure.kind == .unavailable && request.method == "GET" && !asksUpgrade
            {
                // The server may have closed it at that moment; a new connection shows what is the matter.
            }
        }
        let opened = try await open()
        return (try await run(request, on: opened, asksUpgrade: asksUpgrade, isStreamed: isStreamed), opened)
    }

    private func run(
        _ request: HTTPRequest, on opened: Connector.Opened, asksUpgrade: Bool, isStreamed: Bool
    ) async throws -> HTTP1ClientHandler.Outcome {
        let channel = opened.channel
        let promise = channel.eventLoop.makePromise(of: HTTP1ClientHandler.Outcome.self)
        let bytes = try request.encoded(address: address, userAgent: options.userAgent)
        channel.eventLoop.execute {
            opened.handler.value.send(
                bytes, method: request.method, asksUpgrade: asksUpgrade, isStreamed: isStreamed, promise: promise)
        }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    private func answer(_ outcome: HTTP1ClientHandler.Outcome) throws -> HTTPResponse {
        guard case .answer(let response) = outcome else {
            throw BackupFailure(.unavailable, "\(address) opened a session that nobody asked for")
        }
        return response
    }
}

extension HTTPRequest {
    /// Head and body as they go on the wire.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where a part would break the head.
    func encoded(address: ServerAddress, userAgent: String) throws -> ByteBuffer {
        var text = "\(method) \(target) HTTP/1.1\r\n"
        var names: Set<String> = []
        var fields = headers
        for (name, _) in headers { names.insert(name.lowercased()) }
        if !names.contains("host") { fields.append(("host", address.description)) }
        if !names.contains("user-agent") { fields.append(("user-agent", userAgent)) }
        if !names.contains("content-length"), !body.isEmpty || method != "GET" {
            fields.append(("content-length", String(body.count)))
        }
        for (name, value) in fields { text += "\(name): \(value)\r\n" }
        let lines = fields.count + 1
        guard text.utf8.count(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) == 2 * lines,
            !target.contains(" "), !target.isEmpty
        else { throw BackupFailure(.invalidInput, "the request has characters that HTTP does not carry") }
        var buffer = ByteBuffer()
        buffer.reserveCapacity(text.utf8.count + 2 + body.count)
        buffer.writeString(text + "\r\n")
        buffer.writeBytes(body)
        return buffer
    }
}
