/// What an established session carries, one case for each item that a role may send.
///
/// The role that may send it is in brackets. (Spec: backrest-sync §2.2, §5.1.)
package enum PeerItem: Sendable, Equatable {
    /// [Both] `capabilities` is ours: peers of another make leave it out, and ignore it.
    case heartbeat(capabilities: PeerCapabilities)
    /// [Both] What the sender is set up to do, as far as it lets the other see.
    case config(WireRemoteConfig)
    /// [Both]
    case resources(repos: [WireRepoMetadata], plans: [WirePlanMetadata])
    /// [Member] All own operations, with their change counters.
    case manifest(ids: [Int64], counters: [Int64])
    /// [Hub] Asks for a fresh manifest.
    case manifestRequest
    /// [Member]
    case operations(WireOperationEvent)
    /// [Hub]
    case operationRequest(ids: [Int64])
    /// [Hub]
    case configPush(WireSyncStreamItem.SyncActionSetConfig)
    /// [Hub]
    case resourcesRequest
    /// [Both, where both have ``PeerCapabilities/logs``]
    case logRequest(id: String)
    /// [Both, where both have ``PeerCapabilities/logs``]
    case logData(WireSyncStreamItem.SyncActionReceiveLogData)
}

/// What two peers of this product can do beyond the protocol, told in a field of the heartbeat that others ignore.
/// (Spec: backrest-sync §5.8, §9.3.)
package struct PeerCapabilities: OptionSet, Sendable, Hashable {
    /// Logs of tasks can be fetched.
    package static let logs = PeerCapabilities(rawValue: 1)

    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

package enum PeerRole: Sendable, Hashable, CaseIterable {
    /// Opens the session and sends its operations.
    case member
    /// Accepts sessions and collects.
    case hub
}

extension PeerItem {
    /// Reads an item that a peer in the role `sender` has sent in an established session.
    ///
    /// - Parameter capabilities: Those that both sides have.
    /// - Throws: ``PeerSyncFailure`` (`protocolError`): no action, an unknown one, one that this role does not send, or a
    ///   part of it missing.
    init(
        _ item: WireSyncStreamItem, from sender: PeerRole, capabilities: PeerCapabilities
    ) throws(PeerSyncFailure) {
        switch (item.action, sender) {
        case (.heartbeat(let beat), _):
            self = .heartbeat(capabilities: PeerCapabilities(rawValue: beat.cairnCapabilities))
        case (.receiveConfig(let view), _):
            guard view.hasConfig else { throw PeerSyncFailure(.protocolError, "a config view without a config") }
            self = .config(view.config)
        case (.receiveResources(let list), _):
            self = .resources(repos: list.repos, plans: list.plans)
        case (.operationManifest(let manifest), .member):
            guard manifest.opIds.count == manifest.modnos.count else {
                throw PeerSyncFailure(
                    .protocolError,
                    "a manifest of \(manifest.opIds.count) operations with \(manifest.modnos.count) change counters")
            }
            self = .manifest(ids: manifest.opIds, counters: manifest.modnos)
        case (.operationManifest, .hub): self = .manifestRequest
        case (.receiveOperations(let message), .member):
            guard message.hasEvent, message.event.event != nil else {
                throw PeerSyncFailure(.protocolError, "operations without an event")
            }
            self = .operations(message.event)
        case (.requestOperationData(let request), .hub): self = .operationRequest(ids: request.opIds)
        case (.setConfig(let push), .hub): self = .configPush(push)
        case (.requestResources, .hub): self = .resourcesRequest
        case (.requestLog(let request), _) where capabilities.contains(.logs): self = .logRequest(id: request.logID)
        case (.receiveLogData(let data), _) where capabilities.contains(.logs): self = .logData(data)
        case (nil, _): throw PeerSyncFailure(.protocolError, "an item without a known action")
        default: throw PeerSyncFailure(.protocolError, "an item that the \(sender) does not send in this state")
        }
    }

    /// The item as it is sent.
    var message: WireSyncStreamItem {
        var item = WireSyncStreamItem()
        switch self {
        case .heartbeat(let capabilities):
            item.heartbeat = .init()
            item.heartbeat.cairnCapabilities = capabilities.rawValue
        case .config(let view): item.receiveConfig.config = view
        case .resources(let repos, let plans):
            item.receiveResources = .init()
            item.receiveResources.repos = repos
            item.receiveResources.plans = plans
        case .manifest(let ids, let counters):
            item.operationManifest = .init()
            item.operationManifest.opIds = ids
            item.operationManifest.modnos = counters
        case .manifestRequest: item.operationManifest = .init()
        case .operations(let event): item.receiveOperations.event = event
        case .operationRequest(let ids): item.requestOperationData.opIds = ids
        case .configPush(let push): item.setConfig = push
        case .resourcesRequest: item.requestResources = .init()
        case .logRequest(let id): item.requestLog.logID = id
        case .logData(let data): item.receiveLogData = data
        }
        return item
    }

    /// Whether a peer in `role` may send it.
    func mayBeSent(by role: PeerRole, _ capabilities: PeerCapabilities) -> Bool {
        switch self {
        case .heartbeat, .config, .resources: true
        case .manifest, .operations: role == .member
        case .manifestRequest, .operationRequest, .configPush, .resourcesRequest: role == .hub
        case .logRequest, .logData: capabilities.contains(.logs)
        }
    }
}
