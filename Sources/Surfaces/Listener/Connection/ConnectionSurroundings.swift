import BackupHTTP2
import Logging
import ManagementAPI
import NIOConcurrencyHelpers
import NIOCore

/// What all connections of a listener share.
final class ConnectionSurroundings: Sendable {
    let limits: ListenerLimits
    let timers: ConnectionTimers
    /// Nil where connections are plain text.
    let certificate: NIOLockedValueBox<ServerCertificate?>
    let handler: any RESTHandler
    let budget: BodyBudget
    let ledger: ConnectionLedger
    let logger: Logger

    init(
        configuration: ListenerConfiguration, certificate: ServerCertificate?, handler: any RESTHandler, logger: Logger
    ) {
        limits = configuration.limits
        timers = configuration.timers
        self.certificate = NIOLockedValueBox(certificate)
        self.handler = handler
        budget = BodyBudget(limit: configuration.bodyBudgetBytes, connectionLimit: configuration.connectionBodyBytes)
        ledger = ConnectionLedger(limits: configuration.limits)
        self.logger = logger
    }
}

/// How sockets are set up, on all connections.
enum SocketTuning {
    /// `TCP_KEEPIDLE`, which the library has no name for.
    static let keepaliveIdle = NIOBSDSocket.Option(rawValue: 4)
    /// Silence after which TCP asks for a sign of life. (Spec: protocol A.1.)
    static let keepaliveSeconds = 120
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 512 * 1024, high: 2 * 1024 * 1024)
    static let receiveBuffers = AdaptiveRecvByteBufferAllocator(
        minimum: 2048, initial: 16 * 1024, maximum: 256 * 1024)
}
