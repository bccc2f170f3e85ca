import AccessControl
import BackupFormats
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf

/// What pairing needs of an instance's own control plane, and what shows the operations that came.
/// (Spec: backrest-sync §2.8.)
extension CallSurface {
    /// Operations that are looked at for one answer, newest first.
    private static let maxOperations = 5000
    private static let maxLabelBytes = 256
    private static let configVersion: Int32 = 6
    private static let logPrefix = "operation:"

    func logIn(_ request: WireLoginRequest, from peer: String) async throws -> WireLoginResponse {
        var answer = WireLoginResponse()
        answer.token = try await login.logIn(request.username, request.password, from: peer)
        return answer
    }

    func makeToken(
        _ request: WireGeneratePairingTokenRequest, _ whole: RESTRequest, _ caller: Identity?
    ) async throws -> WireGeneratePairingTokenResponse {
        guard request.label.utf8.count <= Self.maxLabelBytes else {
            throw BackupFailure(.invalidInput, "The label has more than \(Self.maxLabelBytes) bytes")
        }
        let grants = try request.permissions.map { permission in
            guard let grant = try PeerGrant(permission) else {
                throw BackupFailure(.invalidInput, "A permission of an unknown type")
            }
            return grant
        }
        let (token, description) = try await administration.createToken(
            PairingTokenRequest(
                label: request.label, grants: grants, lifetime: request.ttlSeconds > 0 ? request.ttlSeconds : nil,
                maxUses: request.maxUses > 0 ? Int(request.maxUses) : nil))
        await audit(
            .makeToken, whole, caller, ["id": .string(description.id), "label": .string(request.label)])
        var answer = WireGeneratePairingTokenResponse()
        answer.token = "\(token)"
        return answer
    }

    // MARK: - Settings

    /// Who we are and whom we know. Keys and secrets stay inside, and so do repos and plans: they are not Backrest's.
    func config() async throws -> WireConfig {
        var config = WireConfig()
        config.version = Self.configVersion
        config.instance = administration.instanceID
        config.multihost.identity.keyid = administration.keyID
        for peer in try await administration.peers().map(\.peer) {
            var entry = WireMultihost.Peer()
            entry.instanceID = peer.instanceID
            entry.keyid = peer.keyID
            entry.permissions = peer.grants.map(\.message)
            switch peer.role {
            case .hub:
                entry.instanceURL = peer.address.map { "\($0)" } ?? ""
                config.multihost.knownHosts.append(entry)
            case .member: config.multihost.authorizedClients.append(entry)
            }
        }
        config.multihost.pairingTokens = try await administration.tokens().map { token in
            var entry = WireMultihost.PairingToken()
            entry.label = token.label
            entry.createdAtUnix = token.created
            entry.expiresAtUnix = token.expires ?? 0
            entry.maxUses = Int32(clamping: token.maxUses ?? 0)
            entry.uses = Int32(clamping: token.uses)
            entry.permissions = token.grants.map(\.message)
            return entry
        }
        return config
    }

    // MARK: - Operations

    /// Operations of members, oldest first; with `last_n` so many of the newest.
    func operations(_ request: WireGetOperationsRequest) async throws -> WireOperationList {
        let selector = request.selector
        var found: [PeerOperation] = []
        if selector.ids.isEmpty {
            let keyID = selector.hasOriginalInstanceKeyid ? selector.originalInstanceKeyid : nil
            found = try await administration.operations(
                PeerOperationFilter(keyID: keyID, limit: Self.maxOperations))
        } else {
            guard selector.ids.count <= Self.maxOperations else {
                throw BackupFailure(.invalidInput, "More than \(Self.maxOperations) operations are asked for")
            }
            for id in Set(selector.ids).sorted(by: >) {
                do {
                    found.append(try await administration.operation(id))
                } catch let failure as BackupFailure where failure.kind == .notFound { continue }
            }
        }
        let matching = found.filter { selector.matches($0) }
        let wanted = request.lastN > 0 ? matching.prefix(Int(clamping: request.lastN)) : matching[...]
        var list = WireOperationList()
        list.operations = wanted.reversed().map { operation in
            var message = operation.shown
            if !message.logref.isEmpty { message.logref = "\(Self.logPrefix)\(operation.stored.id)" }
            return message
        }
        return list
    }

    /// The log of an operation, as it grows.
    ///
    /// - Parameter request: Names it as ``operations(_:)`` does.
    func logs(_ request: WireLogDataRequest) async throws -> @Sendable (OutgoingMessages) async throws -> Void {
        guard request.ref.hasPrefix(Self.logPrefix), let id = Int64(request.ref.dropFirst(Self.logPrefix.count))
        else { throw BackupFailure(.notFound, "There is no log '\(request.ref.prefix(100))'") }
        let pieces = try await administration.log(of: id)
        return { messages in
            for try await piece in pieces {
                var message = WireBytesValue()
                message.value = .init(piece)
                try await messages.send(try message.serializedBytes())
            }
            try Task.checkCancellation()
        }
    }
}

extension PeerOperation {
    /// The message with the numbers that it has here, as an instance shows what came from others.
    fileprivate var shown: WireOperation {
        var message = message
        message.id = stored.id
        message.flowID = stored.flow
        message.originalID = stored.record.originalID
        message.originalFlowID = stored.record.originalFlow
        message.originalInstanceKeyid = stored.record.keyID
        return message
    }
}

extension WireOpSelector {
    fileprivate func matches(_ operation: PeerOperation) -> Bool {
        let message = operation.message
        return (!hasInstanceID || instanceID == message.instanceID)
            && (!hasOriginalInstanceKeyid || originalInstanceKeyid == operation.stored.record.keyID)
            && (!hasRepoGuid || repoGuid == message.repoGuid) && (!hasPlanID || planID == message.planID)
            && (!hasSnapshotID || snapshotID == message.snapshotID)
            && (!hasFlowID || flowID == operation.stored.flow)
            && (!hasModnoGte || operation.stored.record.counter >= modnoGte)
    }
}
