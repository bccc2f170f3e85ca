package import BackupProtocol

/// A request of the REST API, as the client sends it.
package struct HTTPRequest: Sendable {
    package var method: String
    /// Path and query as they go on the wire: `/api2/json/version`.
    package var target: String
    /// Host, Content-Length, User-Agent and Connection are added where they are missing.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]

    package init(
        method: String = "GET", target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
    }
}

/// The answer to a REST request.
package struct HTTPResponse: Sendable {
    package var status: Int
    /// Names in lower case, in the order of the wire.
    package var headers: [(name: String, value: String)]
    package var body: BackupResponse.Body

    package init(status: Int, headers: [(name: String, value: String)], body: BackupResponse.Body) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first header of this name, given in lower case.
    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The body of an answer that was collected; empty for a streamed one.
    package var bytes: [UInt8] {
        if case .bytes(let bytes) = body { bytes } else { [] }
    }
}
