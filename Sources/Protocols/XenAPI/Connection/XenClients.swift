import AsyncHTTPClient
import BackupFormats
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// The HTTP clients of one connection to a pool.
///
/// Calls that change nothing share connections that stay open: one that the host has closed meanwhile is noticed by the
/// next call, which is then repeated. All others get a connection of their own, so that this cannot happen to them.
final class XenClients: Sendable {
    private struct State {
        var transfers: HTTPClient?
        var isShutDown = false
    }

    let shared: HTTPClient
    let single: HTTPClient
    private let target: XenTarget
    private let limits: XenLimits
    private let state = Mutex(State())

    init(_ target: XenTarget, _ limits: XenLimits) {
        self.target = target
        self.limits = limits
        shared = HTTPClient(
            eventLoopGroupProvider: .singleton,
            configuration: Self.configuration(target, limits, usesPerConnection: nil))
        single = HTTPClient(
            eventLoopGroupProvider: .singleton, configuration: Self.configuration(target, limits, usesPerConnection: 1))
    }

    /// Like `single`, but over the pool's network for backups, if it has one.
    var transfers: HTTPClient { state.withLock { $0.transfers } ?? single }

    /// Sends transfers to other addresses than those in their URLs; certificates are still checked for the latter.
    func redirectTransfers(_ addresses: [String: String]) {
        var configuration = Self.configuration(target, limits, usesPerConnection: 1)
        configuration.dnsOverride = addresses
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        state.withLock { $0.transfers = client }
    }

    private static func configuration(
        _ target: XenTarget, _ limits: XenLimits, usesPerConnection: Int?
    ) -> HTTPClient.Configuration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if target.allowsUnauthorized { tls.certificateVerification = .none }
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(limits.connect), read: nil))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.idleTimeout = .seconds(15)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.maximumUsesPerConnection = usesPerConnection
        if let proxy = target.proxy {
            configuration.proxy = .server(
                host: proxy.host, port: proxy.port ?? 80,
                authorization: proxy.userName.map { .basic(username: $0, password: proxy.password ?? "") })
        }
        return configuration
    }

    func shutDown() async {
        for client in takeAll() { try? await client.shutdown() }
    }

    /// A connection that nobody closed is closed here: the clients must not go before.
    deinit {
        let left = takeAll()
        if !left.isEmpty { Task { for client in left { try? await client.shutdown() } } }
    }

    /// The clients, once.
    private func takeAll() -> [HTTPClient] {
        state.withLock { state in
            guard !state.isShutDown else { return [] }
            state.isShutDown = true
            return [shared, single] + (state.transfers.map { [$0] } ?? [])
        }
    }
}

/// Why a request has no answer, as far as it decides what to do next.
enum XenTransportFault {
    /// Linux's codes for an unreachable network, a refused connection and an unreachable host.
    private static let unreachable: Set<CInt> = [101, 111, 113]

    /// Whether the request cannot have reached the host.
    static func isUnsent(_ error: any Error) -> Bool {
        if let error = error as? IOError { return unreachable.contains(error.errnoCode) }
        if error is NIOConnectionError { return true }
        guard let error = error as? HTTPClientError else { return isTLS(error) }
        return [.connectTimeout, .tlsHandshakeTimeout, .httpProxyHandshakeTimeout, .getConnectionFromPoolTimeout]
            .contains(error)
    }

    static func isTLS(_ error: any Error) -> Bool {
        switch error as? NIOSSLError {
        case .handshakeFailed, .unableToValidateCertificate, .noCertificateToValidate: true
        default: error is NIOSSLExtraError
        }
    }

    static func failure(_ error: any Error, _ host: String) -> BackupFailure {
        if isTLS(error) {
            return BackupFailure(
                .unavailable, "The host \(host) has no certificate that is accepted here",
                hints: [
                    "Allow unauthorized certificates for this pool, or give its hosts certificates of a known authority."
                ],
                cause: error)
        }
        if (error as? HTTPClientError) == .deadlineExceeded {
            return BackupFailure(.unavailable, "The host \(host) did not answer in time")
        }
        return BackupFailure(.unavailable, "The host \(host) cannot be reached", cause: error)
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
