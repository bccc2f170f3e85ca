import PeerSyncProtocol
import SwiftProtobuf
import Synchronization

/// The state machine of one session, shared by its reader and its writer.
final class SessionChannel: Sendable {
    private let session: Mutex<PeerSession>

    init(_ session: PeerSession) { self.session = Mutex(session) }

    var peerCapabilities: PeerCapabilities { session.withLock { $0.peerCapabilities } }

    /// Member: the first item.
    func opening() -> WireSyncStreamItem { session.withLock { $0.opening() } }

    /// - Throws: ``PeerSyncFailure``.
    func receive(_ bytes: [UInt8]) throws -> [PeerSession.Effect] { try session.withLock { try $0.receive(bytes) } }
    func accept() { session.withLock { $0.accept() } }
    func end() { session.withLock { $0.end() } }

    /// The bytes of an outer item; a heartbeat always tells what this side can do. They must be sent in the order in which they were sealed: one task seals and sends.
    ///
    /// - Throws: ``PeerSyncFailure``.
    func seal(_ item: PeerItem) throws -> [UInt8] {
        try session.withLock { session in
            if case .heartbeat = item { return try session.heartbeat() }
            return try session.seal(item)
        }.serializedBytes()
    }
}
