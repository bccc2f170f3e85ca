package import BackupFormats

/// The client's side of one session: carries calls and brings answers.
///
/// Calls may be sent from many tasks at once; they arrive in the order in which `send` was entered by one task.
package protocol BackupTransport: Sendable {
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the connection is over. An answer of any status is no error.
    func send(_ request: BackupRequest) async throws -> BackupResponse
    /// Ends the connection in good order. Calls in flight fail.
    func close() async
}

extension BackupResponse {
    /// The answer's error as a failure whose summary is the server's text; nil where the status is 200.
    package func failure() async -> BackupFailure? {
        guard status != 200 else { return nil }
        let text = (try? await collect(limit: 64 * 1024)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let kind: BackupFailure.Kind =
            switch status {
            case 401: .notAuthenticated
            case 403: .notAuthorized
            case 404: .notFound
            case 500...: .unavailable
            default: .invalidInput
            }
        return BackupFailure(kind, text.isEmpty ? "the server answered with status \(status)" : text)
    }
}
