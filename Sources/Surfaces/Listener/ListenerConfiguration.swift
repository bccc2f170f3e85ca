package import BackupHTTP2

/// Where and how the server listens.
package struct ListenerConfiguration: Sendable {
    /// Whose certificate is shown.
    package enum Certificate: Sendable {
        /// `proxy.pem` and `proxy.key` of a folder; made (self-signed) where they are not there, for these names and
        /// addresses besides `localhost` and the loopback addresses.
        case selfSigned(folder: String, names: [String])
        /// PEM files: the certificate with its chain, and the key.
        case files(certificate: String, key: String)
        /// None: plain text, HTTP/2 by prior knowledge and HTTP/1.1, for a network that is trusted or a proxy in front.
        case plain
    }

    /// An address to bind to; nil is all addresses of IPv6 and IPv4, or of IPv4 where there is no IPv6.
    package var address: String?
    /// 0 lets the system choose.
    package var port: Int
    package var certificate: Certificate
    package var limits = ListenerLimits()
    package var timers = ConnectionTimers()
    /// How long sessions and running requests may go on when the listener stops.
    package var stopGrace: Duration = .seconds(30)
    /// Bytes of request bodies that all connections may hold. (Decision 7.)
    package var bodyBudgetBytes = BodyBudget.defaultLimit
    /// Bytes of unfinished request bodies that one connection may hold.
    package var connectionBodyBytes = BodyBudget.defaultConnectionLimit

    package init(address: String? = nil, port: Int = ServerAddress.defaultPort, certificate: Certificate) {
        self.address = address
        self.port = port
        self.certificate = certificate
    }
}

/// What strangers may take.
package struct ListenerLimits: Sendable {
    /// From the first bytes to the end of the TLS handshake. (Spec: protocol A.1.)
    package var handshakeTime: Duration = .seconds(10)
    /// Handshakes at once; further connections are closed. (Spec: protocol A.1.)
    package var pendingHandshakes = 1024
    /// Connections at once; further ones are closed.
    package var connections = 8192
    /// From the first byte of a head to its last.
    package var headTime: Duration = .seconds(30)
    /// Silence within a body.
    package var bodyTime: Duration = .seconds(120)
    /// Time for a connection that has said nothing at all.
    package var silentTime: Duration = .seconds(120)

    package init() {}
}

/// Where a listener listens.
package struct ListenerAddress: Sendable {
    /// The address that was bound, `::` and `0.0.0.0` for all.
    package let host: String
    package let port: Int
    /// Nil where it is plain text.
    package let fingerprint: CertificateFingerprint?

    /// As clients on this machine reach it: all addresses become the loopback one.
    package var url: String {
        let host = host == "::" || host == "0.0.0.0" ? "127.0.0.1" : host
        return "\(fingerprint == nil ? "http" : "https")://\(ServerAddress(host: host, port: port))"
    }
}
