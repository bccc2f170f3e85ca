package import BackupFormats
import BackupProtocol
package import Logging
package import ManagementAPI
import Platform

/// How the proxy's surface behaves.
package struct ProxyOptions: Sendable {
    /// Silence after which a blank is sent while an answer is open; nil never.
    package var keepAlive: Duration? = .seconds(10)
    /// Whether parameters that a method does not know are refused, as callers expect.
    package var isStrict = true
    package var logFormat = LogFormat.both

    package init() {}
}

/// The backup proxy of Xen Orchestra: JSON-RPC at `POST /api/v1`, in front of whatever answers all other paths.
/// (Spec: xo-proxy §1.)
package struct XenOrchestraProxy: RESTHandler {
    /// Bodies may hold a whole configuration of Xen Orchestra; those of strangers are not even read that far.
    package static let bodyLimit = 64 << 20
    static let strangerBodyLimit = 64 << 10
    private static let path = "/api/v1"
    private static let cookieName = "authenticationToken"

    private let next: any RESTHandler
    private let tokens: TokenStore
    private let services: ProxyServices
    private let options: ProxyOptions
    private let log: Logger

    /// - Parameter next: Answers all other paths.
    package init(
        before next: any RESTHandler, tokens: TokenStore, services: ProxyServices, options: ProxyOptions = .init(),
        log: Logger
    ) {
        self.next = next
        self.tokens = tokens
        self.services = services
        self.options = options
        self.log = log
    }

    package func identify(_ request: RESTRequest) async -> AuthID? { await next.identify(request) }

    package func bodyLimit(method: String, target: String) -> Int {
        isCall(target) ? Self.strangerBodyLimit : next.bodyLimit(method: method, target: target)
    }

    package func bodyLimit(method: String, target: String, headers: [(name: String, value: String)]) -> Int {
        guard isCall(target) else { return next.bodyLimit(method: method, target: target, headers: headers) }
        if case .wrong = judge(headers) { return Self.strangerBodyLimit }
        return Self.bodyLimit
    }

    package func handle(_ request: RESTRequest) async -> RESTAnswer {
        guard isCall(request.target) else { return await next.handle(request) }
        return .response(await answer(request))
    }

    private func isCall(_ target: String) -> Bool {
        let path = target.prefix { $0 != "?" }
        return path == Self.path || path == Self.path + "/"
    }

    // MARK: Before the call

    private func answer(_ request: RESTRequest) async -> RESTResponse {
        switch request.method {
        case "POST": break
        case "OPTIONS": return RESTResponse(status: 204, headers: [("allow", "POST")])
        default: return text(405, "Only POST is possible here", [("allow", "POST")])
        }
        let shown = judge(request.headers)
        if case .wrong = shown {
            log.notice("refused", metadata: ["peer": "\(request.peer)", "reason": "no token, or a wrong one"])
            return text(401, "The token is missing or wrong")
        }
        guard request.body.count <= Self.bodyLimit else {
            return text(413, "The request has more than \(Self.bodyLimit) bytes")
        }
        var headers: [(name: String, value: String)] = [("content-type", "application/json")]
        if let token = await nextToken(after: shown) {
            let value = FormText.encode(token)
            headers.append(("set-cookie", "\(Self.cookieName)=\(value); HttpOnly; Secure; Path=/api"))
        }
        return await answer(request, headers)
    }

    private func judge(_ headers: [(name: String, value: String)]) -> TokenStore.Shown {
        for (name, value) in headers where name == "cookie" {
            for part in value.split(separator: ";") {
                let pair = part.drop { $0 == " " }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard pair.count == 2, pair[0] == Self.cookieName else { continue }
                let shown = tokens.judge(String(pair[1]))
                if case .wrong = shown { continue }
                return shown
            }
        }
        return .wrong
    }

    private func nextToken(after shown: TokenStore.Shown) async -> String? {
        guard tokens.mustSettle(shown) else { return nil }
        do {
            return try await services.workers.run { [tokens] in try tokens.settle(shown) }
        } catch {
            // It stays as it is: the caller must not get a token that a restart forgets.
            log.error("the token cannot be replaced", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private func text(
        _ status: Int, _ text: String, _ headers: [(name: String, value: String)] = []
    ) -> RESTResponse {
        RESTResponse(
            status: status, headers: [("content-type", "text/plain; charset=utf-8")] + headers,
            body: .bytes(Array(text.utf8)))
    }

    // MARK: The call

    private func answer(_ request: RESTRequest, _ headers: [(name: String, value: String)]) async -> RESTResponse {
        let call: RPCRequest
        do { call = try RPCRequest(parsing: request.body) } catch {
            let failure = RPCFailure(error, operation: "request")
            return RESTResponse(status: 200, headers: headers, body: .bytes(RPCAnswer.error(failure, id: .null)))
        }
        let method: Method
        let parameters: JSONObject
        do {
            method = try Methods.named(call.method)
            log.info("\(request.peer) \(method.name)")
            parameters = try check(call.parameters, of: method)
        } catch {
            guard let id = call.id else { return RESTResponse(status: 204) }
            let failure = RPCFailure(error, operation: call.method)
            return RESTResponse(status: 200, headers: headers, body: .bytes(RPCAnswer.error(failure, id: id)))
        }
        let (value, work) = LateValue.start { [services] in try await method.call(parameters, services) }
        // Nobody waits for the outcome of a notification.
        guard let id = call.id else { return RESTResponse(status: 204) }
        let body = await body(of: value, work, method, id: id)
        return RESTResponse(status: 200, headers: headers, body: body)
    }

    private func check(_ parameters: JSONValue, of method: Method) throws -> JSONObject {
        let violations = method.parameters.violations(of: parameters, isStrict: options.isStrict)
        guard violations.isEmpty, let object = parameters.objectValue else {
            throw RPCFailure.invalidParameters(violations)
        }
        let unknown = method.parameters.unknownNames(in: object)
        if !unknown.isEmpty {
            log.warning("unknown parameters", metadata: ["method": "\(method.name)", "names": "\(unknown)"])
        }
        return method.parameters.completed(object)
    }

    /// What is known soon is sent at once; for the rest the head goes out, and the caller sees that something comes.
    private func body(
        of value: LateValue<Outcome>, _ work: Task<Void, Never>, _ method: Method, id: JSONValue
    ) async -> BackupResponse.Body {
        let log = log
        let options = options
        let render: @Sendable (Result<Outcome, any Error>) -> any AnswerPieces = { outcome in
            switch outcome {
            case .success(.value(let value)): return WholePieces(RPCAnswer.result(value, id: id))
            case .success(.list(let items)):
                return ListPieces(header: RPCAnswer.listHeader(id: id), items: items)
            case .success(.log(let stream, let isModern)):
                return LogPieces(
                    header: RPCAnswer.listHeader(id: id), stream: stream, format: options.logFormat, isModern: isModern)
            case .failure(let error):
                let failure = RPCFailure(error, operation: method.name)
                log.notice(
                    "\(method.name) failed", metadata: ["code": "\(failure.code)", "reason": "\(failure.message)"])
                return WholePieces(RPCAnswer.error(failure, id: id))
            }
        }
        let patience = method.isWait ? Duration.zero : options.keepAlive ?? Self.patience
        let pieces: any AnswerPieces
        if let outcome = await value.get(within: patience) {
            pieces = render(outcome)
            if let whole = pieces as? WholePieces { return .bytes(whole.bytes) }
        } else {
            pieces = LatePieces(value, ending: method.isWait ? work : nil, render: render)
        }
        return .stream(KeptAliveBody(pieces, interval: options.keepAlive), length: nil)
    }

    /// Callers wait a minute for the head.
    private static let patience = Duration.seconds(10)
}
