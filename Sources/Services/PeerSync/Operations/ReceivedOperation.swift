package import PeerSyncProtocol
import SwiftProtobuf

/// An operation as a hub keeps it: checked, and with nothing that the sender may not set. (Spec: backrest-sync §5.7.)
package struct ReceivedOperation: Sendable, Equatable {
    /// Largest one that is kept.
    package static let maxByteCount = 16 << 20
    private static let snapshotIDLength = 64
    private static let maxTextBytes = 4096

    /// As the member counts them.
    package let originalID: Int64
    package let originalFlow: Int64
    package let counter: Int64
    package let operation: WireOperation
    /// ``operation``, serialised.
    package let payload: [UInt8]

    /// - Throws: ``PeerSyncFailure`` (`invalidArgument`, or `tooLarge`) with what is missing.
    package init(_ sent: WireOperation) throws(PeerSyncFailure) {
        func require(_ isGood: Bool, _ what: String) throws(PeerSyncFailure) {
            guard isGood else { throw PeerSyncFailure(.invalidArgument, "operation \(sent.id) has \(what)") }
        }
        try require(sent.id != 0, "no id")
        try require(sent.flowID != 0, "no flow id")
        try require(!sent.repoID.isEmpty, "no repo id")
        try require(!sent.repoGuid.isEmpty, "no repo guid")
        try require(!sent.planID.isEmpty, "no plan id")
        try require(!sent.instanceID.isEmpty, "no instance id")
        try require(sent.unixTimeStartMs != 0, "no start time")
        try require(
            sent.snapshotID.isEmpty || sent.snapshotID.utf8.count == Self.snapshotIDLength,
            "a snapshot id of \(sent.snapshotID.utf8.count) characters")
        for text in [sent.repoID, sent.repoGuid, sent.planID, sent.instanceID] {
            try require(text.utf8.count <= Self.maxTextBytes, "a name that is too long")
        }
        originalID = sent.id
        originalFlow = sent.flowID
        counter = sent.modno
        // Whoever they name as the origin, it is the one whose session this is.
        var kept = sent
        kept.originalID = sent.id
        kept.originalFlowID = sent.flowID
        kept.originalInstanceKeyid = ""
        operation = kept
        guard let bytes = try? kept.serializedBytes() as [UInt8], bytes.count <= Self.maxByteCount else {
            throw PeerSyncFailure(.tooLarge, "operation \(sent.id) is larger than \(Self.maxByteCount >> 20) MiB")
        }
        payload = bytes
    }

    /// What it is about, by the number of its part of the message; 0 where the part is missing or of a later version.
    package var kind: Int64 {
        switch operation.op {
        case .operationBackup: 100
        case .operationIndexSnapshot: 101
        case .operationForget: 102
        case .operationPrune: 103
        case .operationRestore: 104
        case .operationStats: 105
        case .operationRunHook: 106
        case .operationCheck: 107
        case .operationRunCommand: 108
        case nil: 0
        }
    }
}
