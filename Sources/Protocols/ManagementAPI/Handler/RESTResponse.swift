package import BackupProtocol

/// The answer to one request of the REST API.
package struct RESTResponse: Sendable {
    package var status: Int
    /// Reason phrase where it differs from the usual one; HTTP/2 drops it.
    package var reason: String?
    /// Fields without those that carriers add (`content-length`, `date`, `connection`); names in lower case.
    package var headers: [(name: String, value: String)]
    package var body: BackupResponse.Body
    /// Whether the body goes on until the client has enough: a server that stops cuts it short after a moment.
    package var isFeed = false

    package init(
        status: Int, reason: String? = nil, headers: [(name: String, value: String)] = [],
        body: BackupResponse.Body = .bytes([])
    ) {
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
    }

    /// The first field called `name` (lower case).
    package func header(_ name: String) -> String? {
        headers.first { $0.name == name }?.value
    }
}
