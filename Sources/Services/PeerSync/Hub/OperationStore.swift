package import PeerSyncProtocol
package import StateDatabase
import SwiftProtobuf
import Synchronization

/// What members have told a hub of their operations, in the state database. (Spec: backrest-sync §5.7, §9.2.)
///
/// All calls go by the key of the member whose session it is: no member reaches the rows of another. What arrives while
/// one transaction is being written goes into the next one together, so that a thousand members cost few waits for the
/// disk. Each member's changes happen in the order of its calls.
package final class OperationStore: Sendable {
    /// How much is kept.
    package struct Limits: Sendable {
        /// Operations of one member.
        package var operations = 1_000_000
        /// Operations of all members.
        package var operationsOfAll = 10_000_000
        /// Different instances, repos and plans that one member's operations name.
        package var series = 10_000

        package init() {}
    }

    /// Events that may wait; each session has one at most.
    package static let maxWaiting = 4096
    /// A transaction takes no further event when it has so many operations, or so many bytes of them.
    private static let operationsPerTransaction = 2000
    private static let bytesPerTransaction = 16 << 20
    private static let maxMessageBytes = 4096

    private enum Work: Sendable {
        case put([PeerOperationRecord])
        case remove(ArraySlice<Int64>)

        var count: Int {
            switch self {
            case .put(let records): records.count
            case .remove(let ids): ids.count
            }
        }
    }

    private struct Job: Sendable {
        let keyID: String
        let work: Work
        let byteCount: Int
        let isCurrent: @Sendable () -> Bool
        let done: CheckedContinuation<[PeerOperationPlace], any Error>
    }

    private struct State {
        var waiting: [Job] = []
        var isWriting = false
    }

    private let database: StateDatabase
    private let members: ConfigSection?
    private let limits: Limits
    private let state = Mutex(State())

    /// - Parameter members: Where members have their entries. What comes from one without an entry is dropped, so that
    ///   nothing of a removed member comes back. Nil: not asked.
    package init(
        database: StateDatabase, members: ConfigSection? = PeerDirectory.section, limits: Limits = Limits()
    ) {
        self.database = database
        self.members = members
        self.limits = limits
    }

    // MARK: - Events

    /// Adds, changes or removes operations as an event says; returns when that survives a crash.
    ///
    /// - Parameter isCurrent: Asked inside the transaction: whether the session that it came by is still the member's.
    /// - Returns: The operations that were added or changed.
    /// - Throws: ``PeerSyncFailure`` where one of them is not what it must be, where they are too many, or, `displaced`,
    ///   where the session is not the member's any more: then nothing of the event has happened. `BackupFailure` where
    ///   the database does not take it.
    package func put(
        _ event: WireOperationEvent, of keyID: String, while isCurrent: @escaping @Sendable () -> Bool = { true }
    ) async throws -> [OperationChange] {
        switch event.event {
        case .createdOperations(let list), .updatedOperations(let list):
            return try await put(list.operations, of: keyID, while: isCurrent)
        case .deletedOperations(let list):
            try await remove(list.values, of: keyID, while: isCurrent)
            return []
        case .keepAlive: return []
        case nil: throw PeerSyncFailure(.protocolError, "operations without an event")
        }
    }

    private func put(
        _ operations: [WireOperation], of keyID: String, while isCurrent: @escaping @Sendable () -> Bool
    ) async throws -> [OperationChange] {
        guard operations.count <= limits.operations else { throw limits.tooMany() }
        let received = try operations.map { try ReceivedOperation($0) }
        guard !received.isEmpty else { return [] }
        let records = received.map { Self.record($0, of: keyID) }
        let places = try await run(.put(records), of: keyID, while: isCurrent)
        return zip(received, places).map {
            OperationChange(id: $1.id, operation: $0.operation, previousStatus: $1.previousStatus)
        }
    }

    /// Long lists go in pieces, so that others are not kept waiting.
    private func remove(
        _ ids: [Int64], of keyID: String, while isCurrent: @escaping @Sendable () -> Bool
    ) async throws {
        var rest = ids[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Self.operationsPerTransaction)
            rest = rest.dropFirst(piece.count)
            _ = try await run(.remove(piece), of: keyID, while: isCurrent)
        }
    }

    // MARK: - Manifests

    /// Removes what the manifest does not list any more.
    ///
    /// - Parameters:
    ///   - ids: In any order, with duplicates.
    ///   - counters: As many.
    /// - Returns: The ids to ask for, in the manifest's order.
    /// - Throws: ``PeerSyncFailure``: `tooLarge` where it lists more than a member may have, `displaced`; `BackupFailure`.
    package func compare(
        ids: [Int64], counters: [Int64], of keyID: String, while isCurrent: @escaping @Sendable () -> Bool = { true }
    ) async throws -> [Int64] {
        guard ids.count <= limits.operations else {
            throw PeerSyncFailure(
                .tooLarge, "a manifest of \(ids.count) operations; \(limits.operations) are kept of a member")
        }
        let found = try await database.read { state in
            ManifestComparison(ids: ids, counters: counters, stored: try state.peerOperationCounters(of: keyID))
        }
        try await remove(found.vanished, of: keyID, while: isCurrent)
        return found.wanted
    }

    // MARK: - Members

    /// Forgets a member: what came from it is gone for all readers when the transaction is; ``sweep()`` gives the space
    /// back.
    package static func remove(member keyID: String, in state: StateWriter) throws {
        try state.removePeerOperations(of: keyID)
    }

    /// Deletes what is left of members that were removed, in pieces between the writes of others. For the start, and
    /// after each removal.
    package func sweep() async throws {
        while try await database.write({ try $0.sweepPeerOperations(limit: Self.operationsPerTransaction) }) {}
    }

    // MARK: - Transactions

    /// Waits for the transaction that holds the work.
    private func run(
        _ work: Work, of keyID: String, while isCurrent: @escaping @Sendable () -> Bool
    ) async throws -> [PeerOperationPlace] {
        let byteCount: Int =
            if case .put(let records) = work { records.reduce(0) { $0 + $1.payload.count } } else { 0 }
        return try await withCheckedThrowingContinuation { done in
            let job = Job(keyID: keyID, work: work, byteCount: byteCount, isCurrent: isCurrent, done: done)
            let (isTaken, isFirst) = state.withLock { state -> (Bool, Bool) in
                guard state.waiting.count < Self.maxWaiting else { return (false, false) }
                state.waiting.append(job)
                defer { state.isWriting = true }
                return (true, !state.isWriting)
            }
            guard isTaken else {
                done.resume(throwing: PeerSyncFailure(.tooLarge, "\(Self.maxWaiting) events wait to be stored"))
                return
            }
            // A task of its own: whoever put the first event may be cancelled without harm to the others.
            if isFirst { Task { await self.write() } }
        }
    }

    /// Writes until nothing waits.
    private func write() async {
        while let jobs = nextJobs() {
            do {
                let results = try await database.write { [members, limits] state in
                    try jobs.map { job in
                        do {
                            return Result<[PeerOperationPlace], any Error>.success(
                                try state.attempt { try Self.apply(job, members, limits, in: state) })
                        } catch let failure as PeerSyncFailure {
                            return .failure(failure)
                        }
                    }
                }
                for (job, result) in zip(jobs, results) { job.done.resume(with: result) }
            } catch {
                for job in jobs { job.done.resume(throwing: error) }
            }
        }
    }

    private func nextJobs() -> ArraySlice<Job>? {
        state.withLock { state in
            var operations = 0
            var bytes = 0
            let jobs = state.waiting.prefix { job in
                defer {
                    operations += job.work.count
                    bytes += job.byteCount
                }
                return operations < Self.operationsPerTransaction && bytes < Self.bytesPerTransaction
            }
            state.waiting.removeFirst(jobs.count)
            state.isWriting = !jobs.isEmpty
            return jobs.isEmpty ? nil : jobs
        }
    }

    private static func apply(
        _ job: Job, _ members: ConfigSection?, _ limits: Limits, in state: StateWriter
    ) throws -> [PeerOperationPlace] {
        guard job.isCurrent() else {
            throw PeerSyncFailure(.displaced, "a newer session of the member has begun")
        }
        if let members, try state.entry(members, job.keyID) == nil {
            throw PeerSyncFailure(.authentication, "the member is not known any more")
        }
        switch job.work {
        case .remove(let ids):
            try state.removePeerOperations(ids, of: job.keyID)
            return []
        case .put(let records):
            let places = try state.put(records)
            guard try state.peerSeriesCount(of: job.keyID) <= limits.series else {
                throw PeerSyncFailure(
                    .tooLarge, "operations of more than \(limits.series) repos and plans of one member")
            }
            guard places.contains(where: { $0.previousStatus == nil }) else { return places }
            guard try state.peerOperationCount(of: job.keyID) <= limits.operations else { throw limits.tooMany() }
            guard try state.peerOperationCount() <= limits.operationsOfAll else {
                throw PeerSyncFailure(.tooLarge, "more than \(limits.operationsOfAll) operations of all members")
            }
            return places
        }
    }

    private static func record(_ received: ReceivedOperation, of keyID: String) -> PeerOperationRecord {
        let operation = received.operation
        return PeerOperationRecord(
            keyID: keyID, originalID: received.originalID, originalFlow: received.originalFlow,
            counter: received.counter, kind: received.kind, status: Int64(operation.status.rawValue),
            start: operation.unixTimeStartMs, end: operation.unixTimeEndMs, instance: operation.instanceID,
            repo: operation.repoID, repoGUID: operation.repoGuid, plan: operation.planID,
            message: String(decoding: operation.displayMessage.utf8.prefix(maxMessageBytes), as: UTF8.self),
            payload: received.payload)
    }
}

extension OperationStore.Limits {
    fileprivate func tooMany() -> PeerSyncFailure {
        PeerSyncFailure(.tooLarge, "more than \(operations) operations of one member")
    }
}

/// An operation of a member that was added or changed.
package struct OperationChange: Sendable {
    /// Its number here.
    package let id: Int64
    /// As it is kept.
    package let operation: WireOperation
    /// What the hub knew of it before; nil where it is new here.
    package let previousStatus: Int64?
}
