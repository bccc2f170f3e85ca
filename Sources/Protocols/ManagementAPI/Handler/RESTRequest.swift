package import BackupFormats

/// One request of the REST API, complete, whoever carried it.
package struct RESTRequest: Sendable {
    /// `GET`, `POST`, …; upper case as sent.
    package var method: String
    /// Path and query exactly as sent: `/api2/json/version?x=1`.
    package var target: String
    /// Fields in order of arrival; names in lower case.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// The body while it comes, where the handler has asked for it; its end is the end of the client's side, and it throws
    /// where the stream is cut. What is not read is not taken from the network.
    package var stream: (any ByteSource)?
    /// Address of the client as text, for logs: `[::1]:50312`.
    package var peer: String
    package var isHTTP2: Bool
    /// When the head arrived; refusals of credentials are delayed counting from here.
    package var arrival: ContinuousClock.Instant

    package init(
        method: String, target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        peer: String = "", isHTTP2: Bool = false, arrival: ContinuousClock.Instant = .now
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.peer = peer
        self.isHTTP2 = isHTTP2
        self.arrival = arrival
    }

    /// The first field called `name` (lower case).
    package func header(_ name: String) -> String? {
        headers.first { $0.name == name }?.value
    }
}
