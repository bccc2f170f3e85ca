import AccessControl
import BackupFormats
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import SwiftProtobuf

/// The state service. (Spec: backrest-sync §5.6, §5.11.)
extension CallSurface {
    /// How it stands with each peer, then each change, as long as the caller may see it.
    func states(
        _ request: WireSyncStateStreamRequest, to caller: Identity?
    ) -> @Sendable (OutgoingMessages) async throws -> Void {
        let states = administration.states(follows: request.subscribe)
        let access = login.access
        return { messages in
            for await state in states {
                guard let caller, access.isActive(caller.authID),
                    access.privileges(of: caller.authID, on: .system).contains(.sysAudit)
                else { throw StreamEnd(code: .permissionDenied, message: "the right to see this is gone") }
                try await messages.send(try state.serializedBytes())
            }
            try Task.checkCancellation()
        }
    }

    /// Sends settings to a member; what becomes of them shows in the next view of its settings.
    func push(
        _ request: WireSetRemoteClientConfigRequest, _ whole: RESTRequest, _ caller: Identity?
    ) async throws -> WireSetRemoteClientConfigResponse {
        guard !request.peerKeyid.isEmpty else {
            throw BackupFailure(.invalidInput, "The key id of the peer is missing")
        }
        let push = ConfigPush(
            repos: request.repos, plans: request.plans, reposToDelete: request.reposToDelete,
            plansToDelete: request.plansToDelete)
        do {
            let result = try await administration.push(push, to: request.peerKeyid)
            await audit(
                .setRemoteConfig, whole, caller,
                [
                    "peer": .string(request.peerKeyid),
                    "subjects": .array(result.subjects.map(JSONValue.string)),
                ])
        } catch let failure as BackupFailure where failure.kind == .conflict {
            let isConnected = try? await administration.peer(request.peerKeyid).state == .connected
            guard isConnected != true else { throw failure }
            // This is how callers know a peer that is not connected.
            throw BackupFailure(.notFound, failure.summary, cause: failure)
        }
        return WireSetRemoteClientConfigResponse()
    }
}
