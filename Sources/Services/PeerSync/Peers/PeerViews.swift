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

    /// Stores the states of members, as far as they are members still, in one transaction.
    func save(_ keyIDs: [String]) async throws {
        let views: [(keyID: String, view: [UInt8])] = try keyIDs.compactMap { keyID in
            guard var state = states.state(of: keyID) else { return nil }
            if state.hasRemoteConfig { state.remoteConfig = state.remoteConfig.withoutSecrets }
            return (keyID, try state.serializedBytes())
        }
        guard !views.isEmpty else { return }
        try await database.write { writer in
            for (keyID, view) in views where try writer.entry(PeerDirectory.section, keyID) != nil {
                try writer.putPeerView(view, of: keyID)
            }
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
