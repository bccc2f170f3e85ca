import BackupFormats
package import BackupHTTP2
package import Logging
package import PeerSync
import PeerSyncProtocol

/// Opens streams to hubs over HTTP/2: with TLS and ALPN for `https`, with prior knowledge for `http`.
/// (Spec: backrest-sync §3.1, §3.2.)
package struct HTTP2PeerDialer: PeerDialer {
    /// After the prefix that the hub's URL may have.
    static let path = "/v1sync.BackrestSyncService/Sync"
    /// Silence after which the hub is asked for a sign of life.
    private static let keepalive = Duration.seconds(60)

    private let options: ConnectionOptions
    private let log: Logger

    package init(options: ConnectionOptions = HTTP2PeerDialer.usualOptions, log: Logger) {
        self.options = options
        self.log = log
    }

    package static var usualOptions: ConnectionOptions {
        var options = ConnectionOptions()
        options.keepalive = keepalive
        options.userAgent = "cairn/\(CairnVersion.text)"
        return options
    }

    package func dial(_ hub: HubAddress) async throws -> any PeerStream {
        let address = ServerAddress(host: hub.host, port: hub.port)
        let trust = hub.isSecure ? try Self.trust(in: hub) : nil
        let stream: DuplexStream
        do {
            stream = try await DuplexStream.open(request(to: hub), to: address, trust: trust, options: options)
        } catch {
            throw DialFailure.notConnected(to: hub, error)
        }
        log.debug("connected with a hub", metadata: ["hub": "\(hub)"])
        return ConnectClientStream(
            peerAddress: hub.host,
            answer: {
                do {
                    let head = try await stream.head()
                    try DialFailure.judge(head, of: hub)
                    return (stream.body, try MessageEncoding(field: head.header("connect-content-encoding")))
                } catch let failure as BackupFailure {
                    throw DialFailure.notAnswered(by: hub, failure)
                }
            },
            write: { try await stream.send($0) },
            reset: { stream.close() })
    }

    /// What the original's client sends, but for the encodings: answers come as they are.
    private func request(to hub: HubAddress) -> HTTPRequest {
        HTTPRequest(
            method: "POST", target: hub.path + Self.path,
            headers: [
                ("content-type", StreamHead.contentType), ("connect-protocol-version", "1"),
                ("accept-encoding", MessageEncoding.identity.rawValue), ("user-agent", options.userAgent),
            ])
    }

    private static func trust(in hub: HubAddress) throws -> ServerTrust {
        guard let text = hub.fingerprint else { return .system }
        guard let fingerprint = CertificateFingerprint(parsing: text) else {
            throw BackupFailure(
                .invalidInput, "'\(text.prefix(100))' is no fingerprint of a certificate",
                hints: ["It has 32 bytes in hexadecimal digits, as in aa:bb:…"])
        }
        return .fingerprint(fingerprint)
    }
}
