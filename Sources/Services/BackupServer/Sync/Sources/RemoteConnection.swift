package import BackupFormats
package import BackupProtocol

/// A server of the same protocol that somebody has logged in to: its REST API and the way to sessions. The program
/// implements it over the network; this target knows no sockets.
package protocol RemoteConnection: Sendable {
    /// Makes a REST call and gives `data` of the answer. Parameters go into the query for GET, PUT and DELETE and into
    /// a JSON body for POST.
    ///
    /// - Parameter path: Below `/api2/json`.
    /// - Throws: ``BackupFailure`` with the server's text; `notFound` for status 404, `unavailable` where the
    ///   connection fails.
    func call(_ method: String, _ path: String, _ parameters: JSONObject) async throws -> JSONValue

    /// Opens a session.
    func open(_ protocolID: ProtocolID, _ request: OpenRequest) async throws -> any BackupTransport

    func close() async
}

/// Makes connections to remotes.
package protocol RemoteConnector: Sendable {
    /// Connects and logs in.
    ///
    /// - Throws: ``BackupFailure``: `unavailable` where nobody answers, `notAuthenticated` for another certificate than
    ///   the pinned one and for wrong credentials, `corruptData` where no such server answers.
    func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection
}
