import BackupFormats
package import BackupProtocol

/// A client's way to one server: REST requests over HTTP/1.1 and TLS, and the upgrade to a session.
///
/// Requests wait for each other; a connection that the server closed while it was idle is opened again.
/// An upgrade takes the connection with it, and the next request opens a new one.
package final class ServerConnection: Sendable {
    /// Largest answer that ``send(_:limit:)`` collects unless told otherwise.
    package static let answerLimit = 64 * 1024 * 1024

    package let address: ServerAddress

    private init(address: ServerAddress) { self.address = address }

    /// Connects and checks the certificate.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where nobody answers in time, `notAuthenticated` with an
    ///   ``UntrustedCertificate`` as cause where the certificate is not trusted.
    package static func connect(
        to address: ServerAddress, trust: ServerTrust, options: ConnectionOptions = ConnectionOptions()
    ) async throws -> ServerConnection {
        throw BackupFailure(.unsupported, "connecting is not built yet")
    }

    /// The certificate that the server showed last.
    package var fingerprint: CertificateFingerprint? { nil }

    /// Sends a request and collects its answer.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the connection fails or the time is over,
    ///   `invalidInput` where the answer is longer than `limit` or no HTTP. Any status is an answer.
    package func send(_ request: HTTPRequest, limit: Int = answerLimit) async throws -> HTTPResponse {
        throw BackupFailure(.unsupported, "requests are not built yet")
    }

    /// Sends a request and gives its answer as soon as the head is there; the body comes as a stream,
    /// which is to be read to its end (or dropped, which closes the connection).
    package func stream(_ request: HTTPRequest) async throws -> HTTPResponse {
        throw BackupFailure(.unsupported, "requests are not built yet")
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
        throw BackupFailure(.unsupported, "upgrades are not built yet")
    }

    /// Closes the connection; running requests fail.
    package func close() async {}
}
