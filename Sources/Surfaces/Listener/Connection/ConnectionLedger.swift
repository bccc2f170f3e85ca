import NIOConcurrencyHelpers
import NIOCore

/// Counts what is open: connections, handshakes, and sessions that still clean up. A stop waits for it.
final class ConnectionLedger: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var handshakes = 0
        var endings = 0
        var isStopping = false
    }

    private static let pollInterval = Duration.milliseconds(20)

    private let limits: ListenerLimits
    private let state = NIOLockedValueBox(State())

    init(limits: ListenerLimits) { self.limits = limits }

    var isStopping: Bool { state.withLockedValue { $0.isStopping } }
    var connectionCount: Int { state.withLockedValue { $0.channels.count } }

    /// Enters a connection until it is closed; false where there are too many or the listener stops.
    func opened(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isEntered = state.withLockedValue { state in
            guard !state.isStopping, state.channels.count < limits.connections else { return false }
            state.channels[id] = channel
            return true
        }
        guard isEntered else { return false }
        channel.closeFuture.whenComplete { _ in self.state.withLockedValue { $0.channels[id] = nil } }
        return true
    }

    /// False where too many handshakes are under way.
    func beginHandshake() -> Bool {
        state.withLockedValue { state in
            guard state.handshakes < limits.pendingHandshakes else { return false }
            state.handshakes += 1
            return true
        }
    }

    func endHandshake() { state.withLockedValue { $0.handshakes -= 1 } }

    /// Something begins that a stop waits for, whether or not its connection is still open.
    func began() { state.withLockedValue { $0.endings += 1 } }

    func ended() { state.withLockedValue { $0.endings -= 1 } }

    func stop() { state.withLockedValue { $0.isStopping = true } }

    func tellAll(_ event: any Sendable) {
        let channels = state.withLockedValue { Array($0.channels.values) }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(event) }
    }

    /// Waits until nothing is open, at most so long.
    func isEmpty(within limit: Duration) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while true {
            if state.withLockedValue({ $0.channels.isEmpty && $0.endings == 0 }) { return true }
            if ContinuousClock.now >= deadline { return false }
            try? await Task.sleep(for: Self.pollInterval)
        }
    }
}
