package import BackupFormats
package import BackupProtocol

/// What becomes of a request.
package enum RESTAnswer: Sendable {
    case response(RESTResponse)
    /// HTTP/1.1 only: answer 101 with this protocol id, then speak HTTP/2 with prior knowledge; its streams belong to `session`.
    case upgrade(protocolID: String, session: any SessionHandler)
    /// HTTP/2 only: from now on requests below `/api2/json/<kind>/` on this connection belong to `session`, as long as they
    /// come from `identity`; `kind` is `backup` or `reader`. The response answers the request that opened it.
    case nativeSession(kind: String, session: any SessionHandler, identity: AuthID, RESTResponse)
}

/// Answers the requests of the REST API. Called by the listener, and directly by tests.
package protocol RESTHandler: Sendable {
    /// Most bytes that a body of this request may have. The listener takes at most one byte more and hands over
    /// what it has, so that the answer to a body that is too long is made here.
    func bodyLimit(method: String, target: String) -> Int
    /// The same for a handler whose limit depends on who asks; names of fields in lower case.
    func bodyLimit(method: String, target: String, headers: [(name: String, value: String)]) -> Int
    /// Whether this request is handed over as soon as its head is here: over HTTP/2 with its body as a source, so that
    /// both directions stream; over HTTP/1.1 without a body, which can only be refused.
    func takesStream(method: String, target: String) -> Bool
    func handle(_ request: RESTRequest) async -> RESTAnswer
    /// Who sends this request, for requests of a native session; nil if that is unknown or refused.
    func identify(_ request: RESTRequest) async -> AuthID?
}

extension RESTHandler {
    package func bodyLimit(method: String, target: String, headers: [(name: String, value: String)]) -> Int {
        bodyLimit(method: method, target: target)
    }

    package func takesStream(method: String, target: String) -> Bool { false }
}
