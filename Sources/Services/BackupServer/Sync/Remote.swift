package import BackupFormats
import StateDatabase

/// Another server, and who this one is there. (Spec: rest E.5.)
package struct Remote: Hashable, Sendable {
    package static let defaultPort = 8007

    package var name: String
    /// A name or an address, IPv6 without brackets.
    package var host: String
    package var port: Int
    /// The user or token that logs in there.
    package var authID: AuthID
    /// The user's password or the token's secret.
    package var password: String
    /// SHA-256 of the certificate, as `aa:bb:…`; nil where the machine's authorities vouch for it.
    package var fingerprint: String?

    package init(
        name: String, host: String, port: Int = Remote.defaultPort, authID: AuthID, password: String,
        fingerprint: String? = nil
    ) {
        self.name = name
        self.host = host
        self.port = port
        self.authID = authID
        self.password = password
        self.fingerprint = fingerprint
    }

    /// For messages: `site2 (10.0.0.2:8007)`.
    package var label: String { "\(name) (\(host):\(port))" }
}
