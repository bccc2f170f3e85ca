package import BackupFormats
package import PeerSyncProtocol
package import StateDatabase
import SwiftProtobuf

/// What has changed of the own operations.
package struct OwnOperationChanges: Sendable, Equatable {
    package var created: [Int64] = []
    package var updated: [Int64] = []
    /// Whether some are gone, which a manifest tells.
    package var hasRemovals = false

    package init() {}

    package var isEmpty: Bool { created.isEmpty && updated.isEmpty && !hasRemovals }
}

/// The operations of this instance, numbered for good in the state database. Calls block. (Spec: backrest-sync §5.7, §9.1.)
package struct OwnOperations: Sendable {
    /// Operations that are listed at most; older ones are left out.
    package static let maxListed = 1_000_000
    /// What is not listed any more is kept so long, so that it is not taken for something new.
    private static let keptDays: Int64 = 60
    private static let removalBatch = 1000

    private let database: StateDatabase
    private let instanceID: String
    private let time: TimeSource

    package init(database: StateDatabase, instanceID: String, time: TimeSource) {
        self.database = database
        self.instanceID = instanceID
        self.time = time
    }

    private var milliseconds: Int64 { time.nanoseconds() / 1_000_000 }

    /// Adds operations or changes them, in one transaction.
    package func put(_ contents: [OwnOperationContent]) throws -> OwnOperationChanges {
        var changes = OwnOperationChanges()
        guard !contents.isEmpty else { return changes }
        let now = milliseconds
        let results = try database.write { state in try contents.map { try state.put($0, now: now) } }
        for result in results {
            switch result {
            case .created(let id): changes.created.append(id)
            case .updated(let id): changes.updated.append(id)
            case .unchanged: break
            }
        }
        return changes
    }

    /// Ids and change counters of the operations that a hub is to have, ascending by id.
    ///
    /// - Parameter isWanted: Asked once for each repo and plan.
    package func listed(where isWanted: (_ repo: String, _ guid: String, _ plan: String) -> Bool) throws -> (
        ids: [Int64], counters: [Int64]
    ) {
        struct Place: Hashable {
            let repo: String
            let guid: String
            let plan: String
        }
        var answers: [Place: Bool] = [:]
        var entries: [ManifestBound.Entry] = []
        var counters: [Int64: Int64] = [:]
        try database.read { state in
            try state.eachOwnOperation { record in
                let content = record.content
                let place = Place(repo: content.repo, guid: content.repoGUID, plan: content.plan)
                let answer = answers[place] ?? isWanted(place.repo, place.guid, place.plan)
                answers[place] = answer
                guard answer else { return }
                entries.append(bound(record))
                counters[record.id] = record.counter
            }
        }
        let ids = Array(ManifestBound.listed(entries, now: time.seconds).suffix(Self.maxListed))
        return (ids, ids.map { counters[$0] ?? 0 })
    }

    private func bound(_ record: OwnOperationRecord) -> ManifestBound.Entry {
        let kind: ManifestBound.Entry.Kind =
            switch record.content.kind {
            case OperationKind.forget: .forget
            case OperationKind.prune: .prune
            case OperationKind.check: .check
            case OperationKind.stats: .stats
            default: .other
            }
        return ManifestBound.Entry(
            id: record.id, flow: record.flow, repo: record.content.repoGUID, plan: record.content.plan,
            instance: instanceID, kind: kind, time: record.content.start / 1000,
            isForgotten: record.content.isForgotten)
    }

    /// The operations of these ids that are wanted, in this order; those that are gone are left out.
    package func operations(
        _ ids: some Sequence<Int64>, where isWanted: (_ repo: String, _ guid: String, _ plan: String) -> Bool
    ) throws -> [WireOperation] {
        try database.read { state in
            try ids.compactMap { id in
                guard let record = try state.ownOperation(id),
                    isWanted(record.content.repo, record.content.repoGUID, record.content.plan)
                else { return nil }
                return try message(of: record)
            }
        }
    }

    /// The operation whose log this is; nil where there is none.
    package func operation(ofLog id: String) throws -> (id: Int64, repo: String, guid: String, plan: String)? {
        guard let record = try database.read({ try $0.ownOperation(of: OwnSubject.task(id)) }) else { return nil }
        return (record.id, record.content.repo, record.content.repoGUID, record.content.plan)
    }

    private func message(of record: OwnOperationRecord) throws -> WireOperation {
        var operation = try WireOperation(serializedBytes: record.content.payload)
        operation.id = record.id
        operation.modno = record.counter
        operation.flowID = record.flow
        return operation
    }

    /// Removes what no hub is told of any more and is old.
    package func removeOld() throws {
        let listed = Set(try listed { _, _, _ in true }.ids)
        let limit = milliseconds - Self.keptDays * 86_400_000
        var old: [Int64] = []
        try database.read { state in
            try state.eachOwnOperation { record in
                if record.content.start < limit, !record.content.isRunning, !listed.contains(record.id) {
                    old.append(record.id)
                }
            }
        }
        while !old.isEmpty {
            let batch = Array(old.suffix(Self.removalBatch))
            try database.write { try $0.removeOwnOperations(batch) }
            old.removeLast(batch.count)
        }
    }
}

/// Numbers of the parts of an operation that say what it is.
enum OperationKind {
    static let backup: Int64 = 100
    static let snapshot: Int64 = 101
    static let forget: Int64 = 102
    static let prune: Int64 = 103
    static let restore: Int64 = 104
    static let stats: Int64 = 105
    static let check: Int64 = 107
    static let command: Int64 = 108
}

/// What own operations tell of, as the database names it.
enum OwnSubject {
    private static let taskPrefix = "task:"

    static func task(_ upid: String) -> String { taskPrefix + upid }
    static func stats(_ upid: String) -> String { "stats:\(upid)" }
    static func snapshot(_ id: String) -> String { "snapshot:\(id)" }

    /// The task's id; nil where it is something else.
    static func upid(_ subject: String) -> UPID? {
        guard subject.hasPrefix(taskPrefix) else { return nil }
        return try? UPID(parsing: subject.dropFirst(taskPrefix.count))
    }
}
