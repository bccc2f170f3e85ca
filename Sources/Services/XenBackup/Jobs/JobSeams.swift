package import BackupFormats
package import XenAPI

/// Opens remotes, and keeps those open that are used often.
package protocol RepositoryOpening: Sendable {
    /// - Parameter remote: `{ url, options?, id?, name?, … }`. (Spec: xo-proxy §2.0.)
    /// - Returns: The remote; the caller closes it once, however many share it inside.
    func open(_ remote: JSONObject) async throws -> any XenRepository
}

/// Connects to pools of hosts.
package protocol XenHostConnecting: Sendable {
    /// - Parameter xapi: `{ url, allowUnauthorized, credentials: { username, password }, … }`. (Spec: xo-proxy §2.0.)
    /// - Returns: A connection with a session; the caller closes it once.
    func connect(_ xapi: JSONObject) async throws -> any XenHost
}

/// Says in a failure which job is running already.
package struct JobIsRunning: Error, CustomStringConvertible {
    package let jobID: String

    package var description: String { "job \(jobID)" }
}
