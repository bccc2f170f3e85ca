package import BackupFormats
package import BackupHTTP2
package import Logging
package import ManagementAPI
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
import ServiceLifecycle

/// The one door: TLS, HTTP/1.1, HTTP/2, upgrades and native sessions on one port. Or a side door in plain text.
package final class Listener: Service {
    /// Time for connections to say goodbye after the grace of a stop is over.
    private static let farewell = Duration.seconds(5)
    private static let backlog: Int32 = 512

    private let configuration: ListenerConfiguration
    private let group: any EventLoopGroup
    private let time: TimeSource
    private let logger: Logger
    private let surroundings: ConnectionSurroundings
    private let server = NIOLockedValueBox<(any Channel)?>(nil)

    package init(
        configuration: ListenerConfiguration, handler: any RESTHandler, time: TimeSource, logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws {
        self.configuration = configuration
        self.group = group
        self.time = time
        self.logger = logger
        surroundings = ConnectionSurroundings(
            configuration: configuration, certificate: try .load(configuration.certificate, time: time),
            handler: handler, logger: logger)
    }

    /// The certificate that new connections see; nil where there is none.
    package var fingerprint: CertificateFingerprint? { surroundings.certificate.withLockedValue { $0?.fingerprint } }

    /// Binds the port and begins to serve.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where the address cannot be bound.
    package func start() async throws -> ListenerAddress {
        let channel = try await bind()
        server.withLockedValue { $0 = channel }
        let address = channel.localAddress
        return ListenerAddress(
            host: address?.ipAddress ?? configuration.address ?? "::", port: address?.port ?? configuration.port,
            fingerprint: fingerprint)
    }

    private func bind() async throws -> any Channel {
        let port = configuration.port
        do {
            if let host = configuration.address {
                return try await bootstrap().bind(host: host, port: port).get()
            }
            do {
                return try await bootstrap().bind(host: "::", port: port).get()
            } catch let error as IOError where error.errnoCode == 97 || error.errnoCode == 99 {
                // No IPv6 here (EAFNOSUPPORT, EADDRNOTAVAIL).
                return try await bootstrap().bind(host: "0.0.0.0", port: port).get()
            }
        } catch {
            throw BackupFailure(
                .conflict, "port \(port) of \(configuration.address ?? "all addresses") cannot be listened on",
                cause: error)
        }
    }

    private func bootstrap() -> ServerBootstrap {
        let surroundings = surroundings
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.tcpOption(SocketTuning.keepaliveIdle), value: SocketTuning.keepaliveSeconds)
            .childChannelOption(.writeBufferWaterMark, value: SocketTuning.waterMark)
            .childChannelOption(.recvAllocator, value: SocketTuning.receiveBuffers)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard surroundings.ledger.opened(channel) else { throw ChannelError.ioOnClosedChannel }
                    try channel.pipeline.syncOperations.addHandler(ConnectionOpener(surroundings))
                }
            }
    }

    /// Reads the certificate files again; connections that are open keep the old one. For SIGHUP.
    ///
    /// - Throws: ``BackupFailure`` where the files cannot be used; the old certificate then stays.
    @discardableResult
    package func reloadCertificate() throws -> CertificateFingerprint? {
        let certificate = try ServerCertificate.load(configuration.certificate, time: time)
        surroundings.certificate.withLockedValue { $0 = certificate }
        return certificate?.fingerprint
    }

    /// The members of the API's description of a certificate. Blocks. (Spec: rest E.8.)
    package func describeCertificate() throws -> JSONObject {
        try CertificateDescription.make(of: configuration.certificate)
    }

    /// Writes another certificate over the one in use and shows it to new connections. Blocks.
    ///
    /// - Parameters:
    ///   - chain: PEM.
    ///   - key: PEM; nil where the present key stays.
    /// - Throws: ``BackupFailure`` where they do not fit together; nothing is changed then.
    package func replaceCertificate(_ chain: [UInt8], key: [UInt8]?) throws {
        try ServerCertificate.replace(configuration.certificate, chain: chain, key: key)
        try reloadCertificate()
    }

    /// Stops: no new connections, idle ones are closed, sessions and running requests get ``ListenerConfiguration/stopGrace``,
    /// then they are ended. Returns when all sessions have cleaned up.
    package func stop() async {
        let channel = server.withLockedValue { server in
            defer { server = nil }
            return server
        }
        try? await channel?.close()
        let ledger = surroundings.ledger
        ledger.stop()
        ledger.tellAll(ChannelShouldQuiesceEvent())
        if await ledger.isEmpty(within: configuration.stopGrace) { return }
        logger.info("ending the sessions that are still running")
        ledger.tellAll(ConnectionMustCloseEvent(reason: "the server stops"))
        _ = await ledger.isEmpty(within: Self.farewell)
    }

    /// Starts, waits for a graceful shutdown or cancellation, stops.
    package func run() async throws {
        if server.withLockedValue({ $0 == nil }) { _ = try await start() }
        try? await gracefulShutdown()
        // A task of its own: the wait for sessions must not be cut short by a cancellation.
        await Task { await stop() }.value
    }
}
