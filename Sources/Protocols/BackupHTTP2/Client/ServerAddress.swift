/// Where a server listens.
package struct ServerAddress: Sendable, Hashable, CustomStringConvertible {
    /// The port of the protocol. (Spec: protocol A.1.)
    package static let defaultPort = 8007

    /// A name or an address, IPv6 without brackets.
    package var host: String
    package var port: Int

    package init(host: String, port: Int = defaultPort) {
        self.host = host
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Which certificate a client accepts.
package enum ServerTrust: Sendable, Equatable {
    /// A chain to one of the machine's authorities, with the server's name in it.
    case system
    /// The same with the authorities of a PEM file.
    case authorities(file: String)
    /// This very certificate, by the SHA-256 of its DER; see ``CertificateFingerprint``.
    case fingerprint(CertificateFingerprint)
}

/// The cause of a failure to connect: a certificate that is not trusted. Shown to the user, who may
/// connect again with ``ServerTrust/fingerprint(_:)``.
package struct UntrustedCertificate: Error, Sendable, CustomStringConvertible {
    /// Of the certificate that the server showed.
    package let fingerprint: CertificateFingerprint
    /// What TLS had against it; empty where it only was another one than expected.
    package let reason: String

    package var description: String {
        "the server's certificate has the fingerprint \(fingerprint)" + (reason.isEmpty ? "" : " (\(reason))")
    }
}

/// How a client connects, and what it allows itself.
package struct ConnectionOptions: Sendable {
    package var connectTimeout: Duration = .seconds(10)
    /// From the first byte of a request to the last of its answer; for streamed answers and the
    /// upgrade to the last byte of the answer's head.
    package var requestTimeout: Duration = .seconds(120)
    /// Silence after which an upgraded connection sends PING; as much again without an answer ends it.
    package var keepalive: Duration = .seconds(60)
    package var userAgent = "cairn"
    /// Bytes a second that the connection may send; nil for no limit.
    package var sendRate: RateLimit?
    /// Bytes a second that the connection may receive.
    package var receiveRate: RateLimit?

    package init() {}
}

/// A token bucket: so many bytes a second in the long run, so many at once.
package struct RateLimit: Sendable, Equatable {
    package var bytesPerSecond: Int
    package var burstBytes: Int

    /// - Parameter burstBytes: By default what one second allows.
    package init(bytesPerSecond: Int, burstBytes: Int? = nil) {
        self.bytesPerSecond = max(1, bytesPerSecond)
        self.burstBytes = max(1, burstBytes ?? bytesPerSecond)
    }
}
