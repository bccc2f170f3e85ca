package import PeerSyncProtocol
package import StateDatabase
import SwiftProtobuf

/// What members have told a hub of their operations, in the state database. (Spec: backrest-sync §5.7, §9.2.)
///
/// Calls block, and each is one transaction. All go by the key of the member whose session it is: no member reaches the
/// rows of another.
package struct OperationStore: Sendable {
    /// Operations of one member that are kept at most.
    package static let maxOperations = 1_000_000
    private static let maxMessageBytes = 4096

    private let database: StateDatabase

    package init(database: StateDatabase) { self.database = database }

    /// Removes what the manifest does not list any more.
    ///
    /// - Returns: The ids to ask for.
    /// - Throws: ``PeerSyncFailure`` (`tooLarge`) where it lists more than a member may have.
    package func apply(ids: [Int64], counters: [Int64], of keyID: String) throws -> [Int64] {
        guard ids.count <= Self.maxOperations else {
            throw PeerSyncFailure(
                .tooLarge, "a manifest of \(ids.count) operations; \(Self.maxOperations) are kept of a member")
        }
        let stored = try database.read { try $0.peerOperationCounters(of: keyID) }
        let found = ManifestComparison(ids: ids, counters: counters, stored: stored)
        if !found.vanished.isEmpty {
            try database.write { try $0.removePeerOperations(found.vanished, of: keyID) }
        }
        return found.wanted
    }

    /// Adds, changes or removes operations as an event says.
    ///
    /// - Throws: ``PeerSyncFailure`` where one of them is not what it must be; then nothing of the event has happened.
    package func apply(_ event: WireOperationEvent, of keyID: String) throws {
        switch event.event {
        case .createdOperations(let list), .updatedOperations(let list): try put(list.operations, of: keyID)
        case .deletedOperations(let list):
            try database.write { try $0.removePeerOperations(list.values, of: keyID) }
        case .keepAlive: return
        case nil: throw PeerSyncFailure(.protocolError, "operations without an event")
        }
    }

    private func put(_ operations: [WireOperation], of keyID: String) throws {
        let records = try operations.map { try Self.record(ReceivedOperation($0), of: keyID) }
        guard !records.isEmpty else { return }
        try database.write { state in
            try state.put(records)
            guard try state.peerOperationCount(of: keyID) <= Self.maxOperations else {
                throw PeerSyncFailure(.tooLarge, "more than \(Self.maxOperations) operations of one member")
            }
        }
    }

    private static func record(_ received: ReceivedOperation, of keyID: String) throws -> PeerOperationRecord {
        let operation = received.operation
        return PeerOperationRecord(
            keyID: keyID, originalID: received.originalID, originalFlow: received.originalFlow,
            counter: received.counter, kind: received.kind, status: Int64(operation.status.rawValue),
            start: operation.unixTimeStartMs, end: operation.unixTimeEndMs, instance: operation.instanceID,
            repo: operation.repoID, repoGUID: operation.repoGuid, plan: operation.planID,
            message: String(decoding: operation.displayMessage.utf8.prefix(maxMessageBytes), as: UTF8.self),
            payload: try operation.serializedBytes())
    }

    /// Forgets a member.
    package func remove(member keyID: String) throws {
        try database.write { try $0.removePeerOperations(of: keyID) }
    }
}
