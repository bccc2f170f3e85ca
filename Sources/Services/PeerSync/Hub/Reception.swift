import BackupFormats
import Logging
import PeerSyncProtocol
import Platform
import StateDatabase
import SwiftProtobuf

/// Finds out who opens a session: key exchange, handshake, and whether that key is a member, or becomes one by a pairing
/// secret. (Spec: backrest-sync §5.1, §5.2.)
struct Reception: Sendable {
    let directory: PeerDirectory
    let states: PeerStates
    let tokens: PairingTokens
    let settings: HubSettings
    let workers: WorkerPool
    let time: TimeSource
    let log: Logger

    /// - Returns: The member, and the channel to it, in which it is not accepted yet.
    /// - Throws: ``PeerSyncFailure`` where it is refused; what the stream throws.
    func meet(_ stream: any PeerStream, _ ending: SessionEnding) async throws -> (member: Peer, SessionChannel) {
        let channel = SessionChannel(
            PeerSession(hub: directory.identity, instanceID: directory.instanceID, capabilities: [.logs]))
        var limit = ending.set(.noKeyExchange(), after: settings.patience)
        defer { limit.cancel() }
        while let bytes = try await stream.receive() {
            for effect in try channel.receive(bytes) {
                switch effect {
                case .send(let item): try await stream.send(item.serializedBytes())
                case .authorize(let handshake):
                    return (try await workers.run { try authorize(handshake, at: stream.peerAddress) }, channel)
                case .verified, .received: throw PeerSyncFailure(.internalFault, "a stranger's item came through")
                }
            }
            limit.cancel()
            limit = ending.set(.refused("no handshake within the time for it"), after: settings.patience)
        }
        throw PeerSyncFailure(.protocolError, "the stream ended before the handshake")
    }

    /// Blocks.
    private func authorize(_ handshake: Handshake, at address: String) throws -> Peer {
        let keyID = handshake.publicKey.keyID
        if let peer = directory.peer(keyID: keyID) {
            guard peer.role == .member else {
                throw PeerSyncFailure(.authentication, "'\(peer.instanceID)' is a hub of ours, not a member")
            }
            guard peer.instanceID == handshake.instanceID else {
                let reason = "the key of '\(peer.instanceID)' came with the name '\(handshake.instanceID)'"
                states.note(keyID) { state in
                    state.state = .errorAuth
                    state.statusMessage = "\(reason): remove the peer and pair it anew under its new name"
                }
                throw PeerSyncFailure(.authentication, reason)
            }
            return peer
        }
        guard !handshake.pairingSecret.isEmpty else {
            throw PeerSyncFailure(.authentication, "the key \(keyID) of '\(handshake.instanceID)' is not known")
        }
        let now = time.seconds
        guard let token = try tokens.token(with: handshake.pairingSecret, now: now) else {
            throw PeerSyncFailure(
                .authentication, "'\(handshake.instanceID)' showed a pairing secret that is none, is over or used up")
        }
        guard directory.peers.count(where: { $0.role == .member }) < PeerLimits.members else {
            throw PeerSyncFailure(.authentication, "there are \(PeerLimits.members) members already")
        }
        let peer = Peer(
            keyID: keyID, instanceID: handshake.instanceID, role: .member, grants: token.grants, added: now)
        do {
            try directory.add(peer) { state in
                guard try state.usePeerToken(token.id) else {
                    throw BackupFailure(.conflict, "the pairing token was used up meanwhile")
                }
            }
        } catch let failure as BackupFailure where failure.kind == .conflict || failure.kind == .invalidInput {
            throw PeerSyncFailure(.authentication, failure.summary)
        }
        log.notice(
            "peer paired",
            metadata: ["peer": "\(peer.instanceID)", "key": "\(keyID)", "token": "\(token.id)", "from": "\(address)"])
        return peer
    }
}
