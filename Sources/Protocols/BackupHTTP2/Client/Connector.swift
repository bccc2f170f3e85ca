import BackupFormats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL

/// Opens connections to a server, over TLS but where told otherwise, and judges its certificate.
struct Connector: Sendable {
    /// An open connection, ready for a request.
    struct Opened: Sendable {
        let channel: any Channel
        let handler: NIOLoopBound<HTTP1ClientHandler>
        let fingerprint: CertificateFingerprint?
    }

    private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 512 * 1024, high: 2 * 1024 * 1024)
    private static let receiveBuffers = AdaptiveRecvByteBufferAllocator(
        minimum: 2048, initial: 64 * 1024, maximum: 256 * 1024)
    /// `TCP_KEEPIDLE` and its value. (Spec: protocol A.1.)
    private static let keepaliveIdle = NIOBSDSocket.Option(rawValue: 4)
    private static let keepaliveSeconds = 120

    private let address: ServerAddress
    private let trust: ServerTrust?
    private let options: ConnectionOptions
    private let context: NIOSSLContext?
    private let group: any EventLoopGroup

    /// Puts on an open channel what speaks over it, and keeps the promise when it may be used.
    typealias Installation = @Sendable (any Channel, EventLoopPromise<Void>) throws -> Void

    /// - Parameters:
    ///   - trust: nil for plain text.
    ///   - protocols: What is offered by ALPN.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the authorities' file cannot be used.
    init(
        address: ServerAddress, trust: ServerTrust?, protocols: [String] = [], options: ConnectionOptions
    ) throws {
        self.address = address
        self.trust = trust
        self.options = options
        group = MultiThreadedEventLoopGroup.singleton
        guard let trust else {
            context = nil
            return
        }
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = protocols
        configuration.minimumTLSVersion = .tlsv12
        configuration.shutdownTimeout = .seconds(1)
        switch trust {
        case .system: break
        case .authorities(let file): configuration.trustRoots = .file(file)
        // The chain and the name do not matter where the certificate itself is known.
        case .fingerprint: configuration.certificateVerification = .noHostnameVerification
        }
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw BackupFailure(.invalidInput, "TLS cannot be set up for \(address)", cause: error)
        }
    }

    /// Opens a connection that speaks HTTP/1.1.
    ///
    /// - Throws: ``BackupFailure``, see ``ServerConnection/connect(to:trust:options:)``.
    func open() async throws -> Opened {
        let address = address
        let options = options
        let (channel, fingerprint) = try await open { channel, ready in
            try channel.pipeline.syncOperations.addHandler(
                HTTP1ClientHandler(address: address, options: options, ready: ready))
        }
        let handler = try await channel.eventLoop.submit {
            NIOLoopBound(
                try channel.pipeline.syncOperations.handler(type: HTTP1ClientHandler.self),
                eventLoop: channel.eventLoop)
        }.get()
        return Opened(channel: channel, handler: handler, fingerprint: fingerprint)
    }

    /// - Throws: ``BackupFailure``, see ``ServerConnection/connect(to:trust:options:)``.
    func open(
        _ install: @escaping Installation
    ) async throws -> (channel: any Channel, fingerprint: CertificateFingerprint?) {
        let shown = NIOLockedValueBox<CertificateFingerprint?>(nil)
        do {
            return try await open(install, shown: shown, judging: trust)
        } catch let error where error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError {
            // The library does not show what it refused: ask once more, only to look.
            if shown.withLockedValue({ $0 }) == nil, trust != .system || Self.isCertificateError(error) {
                _ = try? await open(
                    install, shown: shown, judging: .fingerprint(CertificateFingerprint(ofDER: [])))
            }
            guard let fingerprint = shown.withLockedValue({ $0 }) else {
                throw BackupFailure(.unavailable, "no TLS connection to \(address)", cause: error)
            }
            throw BackupFailure(
                .notAuthenticated, "the certificate of \(address) is not trusted",
                hints: ["Check that the server's fingerprint is \(fingerprint), then give it to this client."],
                cause: UntrustedCertificate(fingerprint: fingerprint, reason: reason(for: error)))
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(.unavailable, "\(address) cannot be reached", cause: error)
        }
    }

    private func reason(for error: any Error) -> String {
        if case .fingerprint = trust { return "" }
        return error is NIOSSLExtraError ? "it is for another name" : "no valid chain leads to a known authority"
    }

    private static func isCertificateError(_ error: any Error) -> Bool {
        "\(error)".uppercased().contains("CERTIFICATE") || error is NIOSSLExtraError
    }

    private func open(
        _ install: @escaping Installation, shown: NIOLockedValueBox<CertificateFingerprint?>,
        judging trust: ServerTrust?
    ) async throws -> (channel: any Channel, fingerprint: CertificateFingerprint?) {
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(TimeAmount(options.connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(Self.keepaliveIdle), value: Self.keepaliveSeconds)
            .channelOption(.writeBufferWaterMark, value: Self.waterMark)
            .channelOption(.recvAllocator, value: Self.receiveBuffers)
        let options = options
        let address = address
        // A name may have several addresses, and more than one be tried: each has a promise of its own.
        let (channel, ready) = try await bootstrap.connect(host: address.host, port: address.port) { channel in
            let ready = channel.eventLoop.makePromise(of: Void.self)
            return channel.eventLoop.makeCompletedFuture {
                do {
                    if options.sendRate != nil || options.receiveRate != nil {
                        try channel.pipeline.syncOperations.addHandler(
                            RateLimitHandler(send: options.sendRate, receive: options.receiveRate))
                    }
                    if let trust, let tls = try tls(shown: shown, judging: trust) {
                        try channel.pipeline.syncOperations.addHandler(tls)
                    }
                    try install(channel, ready)
                    return (channel, ready)
                } catch {
                    ready.fail(error)
                    throw error
                }
            }
        }
        let deadline = channel.eventLoop.scheduleTask(in: TimeAmount(options.connectTimeout)) {
            ready.fail(BackupFailure(.unavailable, "\(address) did not answer in time"))
            channel.close(promise: nil)
        }
        do {
            try await ready.futureResult.get()
            deadline.cancel()
        } catch {
            deadline.cancel()
            channel.close(promise: nil)
            throw error
        }
        if trust != nil, shown.withLockedValue({ $0 }) == nil,
            let leaf = try await channel.nioSSL_peerCertificate().get()
        {
            let der = try leaf.toDERBytes()
            shown.withLockedValue { $0 = CertificateFingerprint(ofDER: der) }
        }
        return (channel, shown.withLockedValue { $0 })
    }

    private func tls(
        shown: NIOLockedValueBox<CertificateFingerprint?>, judging trust: ServerTrust
    ) throws -> NIOSSLClientHandler? {
        guard let context else { return nil }
        let isAddress = (try? SocketAddress(ipAddress: address.host, port: 0)) != nil
        let name = isAddress ? nil : address.host
        guard case .fingerprint(let wanted) = trust else {
            return try NIOSSLClientHandler(context: context, serverHostname: name)
        }
        return try NIOSSLClientHandler(context: context, serverHostname: name) { certificates, verdict in
            guard let leaf = certificates.first, let der = try? leaf.toDERBytes() else {
                return verdict.succeed(.failed)
            }
            let fingerprint = CertificateFingerprint(ofDER: der)
            shown.withLockedValue { $0 = fingerprint }
            verdict.succeed(fingerprint == wanted ? .certificateVerified : .failed)
        }
    }
}
