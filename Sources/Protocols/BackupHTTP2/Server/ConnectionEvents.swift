import BackupProtocol
package import NIOCore

/// Told to a connection's handlers: end it now, for this reason.
package struct ConnectionMustCloseEvent: Sendable {
    package let reason: String
    package init(reason: String) { self.reason = reason }
}

/// A channel as a session sees it.
package struct ChannelConnection: SessionConnection {
    private let channel: any Channel

    package init(channel: any Channel) { self.channel = channel }

    package func close(reason: String) {
        channel.pipeline.fireUserInboundEventTriggered(ConnectionMustCloseEvent(reason: reason))
    }
}

/// How long a silent connection is borne.
package struct ConnectionTimers: Sendable {
    /// Silence after which the peer is asked for a sign of life by PING; as much again without one ends the connection.
    /// nil asks never.
    package var keepalive: Duration?
    /// Time without a call after which a connection, and with it its session, ends.
    package var idle: Duration
    /// How long streams that would go on for ever may take to end when the server stops.
    package var feedGrace: Duration = .seconds(3)
    /// Time after which such a stream is reset when its client takes nothing of what waits for it.
    package var feedPatience: Duration = .seconds(60)

    package init(keepalive: Duration? = .seconds(120), idle: Duration = .seconds(15 * 60)) {
        self.keepalive = keepalive
        self.idle = idle
    }
}
