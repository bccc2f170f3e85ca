package import BackupFormats
import NIOConcurrencyHelpers
import NIOCore

/// One request over HTTP/2 whose body is sent while its answer comes, on a connection of its own.
///
/// HTTP/2 is agreed on by ALPN, or known beforehand where the connection is in plain text. A server that is silent for
/// ``ConnectionOptions/keepalive`` is asked for a sign of life; as long again without one ends the stream.
package final class DuplexStream: Sendable {
    /// The head of an answer.
    package struct Head: Sendable {
        package let status: Int
        /// Names in lower case, in the order of the wire.
        package let headers: [(name: String, value: String)]

        /// The first field of this name, given in lower case.
        package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private let channel: any Channel
    private let handler: NIOLoopBound<DuplexHandler>
    private let answered: EventLoopFuture<Head>
    /// What the server answers while it does. What is not read is, but for 256 KiB, not taken from the network.
    package let body: any ByteSource
    /// The certificate that the server showed; nil in plain text.
    package let fingerprint: CertificateFingerprint?

    private init(
        channel: any Channel, handler: NIOLoopBound<DuplexHandler>, answered: EventLoopFuture<Head>, body: ReceivedBody,
        fingerprint: CertificateFingerprint?
    ) {
        self.channel = channel
        self.handler = handler
        self.answered = answered
        self.body = body
        self.fingerprint = fingerprint
    }

    deinit { close() }

    /// Connects and sends the head of a request with a body to come; returns without waiting for an answer.
    ///
    /// - Parameters:
    ///   - request: Its body, where it has one, goes out with the head.
    ///   - trust: nil for plain text.
    /// - Throws: ``BackupFailure`` of kind `unavailable` where nobody answers in time, `notAuthenticated` with an
    ///   ``UntrustedCertificate`` as cause where the certificate is not trusted, `unsupported` where the server does not
    ///   agree on HTTP/2.
    package static func open(
        _ request: HTTPRequest, to address: ServerAddress, trust: ServerTrust?,
        options: ConnectionOptions = ConnectionOptions()
    ) async throws -> DuplexStream {
        let connector = try Connector(address: address, trust: trust, protocols: ["h2"], options: options)
        let isSecure = trust != nil
        // Found by its channel and not in its pipeline, which it may have left again: it knows why.
        let handlers = NIOLockedValueBox<[ObjectIdentifier: NIOLoopBound<DuplexHandler>]>([:])
        let (channel, fingerprint) = try await connector.open { channel, ready in
            let agreement = HTTP2Agreement(address: address, isSecure: isSecure, ready: ready) { channel in
                let handler = try DuplexHandler.add(
                    to: channel, request: request, scheme: isSecure ? "https" : "http", address: address,
                    options: options)
                handlers.withLockedValue {
                    $0[ObjectIdentifier(channel)] = NIOLoopBound(handler, eventLoop: channel.eventLoop)
                }
            }
            try channel.pipeline.syncOperations.addHandler(agreement)
        }
        guard let handler = handlers.withLockedValue({ $0[ObjectIdentifier(channel)] }) else {
            channel.close(promise: nil)
            throw BackupFailure(.unavailable, "the connection to \(address) is over")
        }
        let (answered, body) = try await channel.eventLoop.submit {
            (handler.value.answered.futureResult, handler.value.body)
        }.get()
        return DuplexStream(
            channel: channel, handler: handler, answered: answered, body: body, fingerprint: fingerprint)
    }

    /// Waits for the head of the answer.
    ///
    /// - Throws: ``BackupFailure`` where the stream ends without one: `unsupported` where what answers is not HTTP/2.
    package func head() async throws -> Head {
        let mine = channel.eventLoop.makePromise(of: Head.self)
        answered.cascade(to: mine)
        return try await withTaskCancellationHandler {
            try await mine.futureResult.get()
        } onCancel: {
            mine.fail(CancellationError())
        }
    }

    /// Sends a piece of the request's body; returns when it is on its way, which flow control decides.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the stream is over; its answer may be there nevertheless.
    package func send(_ bytes: [UInt8]) async throws {
        let written = channel.eventLoop.makePromise(of: Void.self)
        let handler = handler
        channel.eventLoop.execute { handler.value.send(bytes, promise: written) }
        try await withTaskCancellationHandler {
            try await written.futureResult.get()
        } onCancel: {
            written.fail(CancellationError())
        }
    }

    /// Ends the request's body; the answer may go on.
    package func finish() {
        let handler = handler
        channel.eventLoop.execute { handler.value.finishRequest() }
    }

    /// Resets the stream, where it is still open, and closes its connection. May be called more than once.
    package func close() {
        let handler = handler
        channel.eventLoop.execute { handler.value.close() }
    }
}
