import BackupProtocol
import Synchronization

/// The connection of a session, which comes after the session itself; a wish to close that comes first is kept.
final class SessionConnectionSlot: Sendable {
    private struct State {
        var connection: (any SessionConnection)?
        var closeReason: String?
    }

    private let state = Mutex(State())

    func attach(_ connection: any SessionConnection) {
        let reason = state.withLock { state in
            state.connection = connection
            return state.closeReason
        }
        if let reason { connection.close(reason: reason) }
    }

    func close(reason: String) {
        let connection = state.withLock { state in
            state.closeReason = state.closeReason ?? reason
            return state.connection
        }
        connection?.close(reason: reason)
    }

    /// Lets go of the connection, which holds the session in turn.
    func clear() { state.withLock { $0.connection = nil } }
}
