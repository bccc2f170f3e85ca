package import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf

/// Keeps what was last known of members over restarts: repos, plans, settings without secrets, and when they were heard.
struct PeerViews: Sendable {
    let database: StateDatabase
    let states: PeerStates

    /// Blocks; what cannot be read any more is left out.
    func restore(_ members: [Peer]) throws {
        let views = Dictionary(try database.read { try $0.peerViews() }.map { ($0.keyID, $0.view) }) { first, _ in first
        }
        for member in members {
            states.update(states.begin(member.keyID)) { state in
                if let view = views[member.keyID], let kept = try? WirePeerState(serializedBytes: view) { state = kept }
                state.peerKeyid = member.keyID
                state.peerInstanceID = member.instanceID
                state.state = .disconnected
                state.statusMessage = ""
            }
        }
    }

    /// Stores the state of a member that is one still.
    func save(_ keyID: String) async throws {
        guard var state = states.state(of: keyID) else { return }
        if state.hasRemoteConfig { state.remoteConfig = state.remoteConfig.withoutSecrets }
        let view: [UInt8] = try state.serializedBytes()
        try await database.write { writer in
            guard try writer.entry(PeerDirectory.section, keyID) != nil else { return }
            try writer.putPeerView(view, of: keyID)
        }
    }
}

extension WireRemoteConfig {
    /// Without passwords, environments, flags and hooks.
    package var withoutSecrets: WireRemoteConfig {
        var view = self
        for index in view.repos.indices {
            view.repos[index].password = ""
            view.repos[index].env = []
            view.repos[index].flags = []
            view.repos[index].hooks = []
        }
        for index in view.plans.indices {
            view.plans[index].hooks = []
            view.plans[index].backupFlags = []
        }
        return view
    }
}
