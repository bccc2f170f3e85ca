import BackupFormats
import Synchronization
import Tasks

/// The way of one machine's backup to one remote, beside those to the others: what fails here fails here only.
///
/// Its task `export` goes through ``export(below:_:)``, and meets the others twice: when all data is written, and when
/// the snapshot carries its marks. The data comes through ``write(_:onFailure:)``.
final class TargetLane: Sendable {
    let repository: any XenRepository
    let rule: RetentionRule
    /// `deleteFirst`: retention was applied before the transfer.
    let isRetentionFirst: Bool
    /// `healthCheckSr` is set.
    let wantsHealthCheck: Bool
    /// Ready to be written to.
    let begun = Latch<any VMBackupWriter>()
    /// All data is there; bytes taken.
    let transferred = Latch<UInt64>()
    /// The snapshot is marked, so that the backup may be made visible.
    let marked = Latch<Void>()

    private struct State {
        var target: (any VMBackupTarget)?
        var failure: (any Error)?
        var isCommitted = false
        var byteCount: UInt64 = 0
        var writes: [Task<Void, Never>] = []
        var transfer: TaskNode?
    }

    private let state = Mutex(State())

    init(repository: any XenRepository, rule: RetentionRule, isRetentionFirst: Bool, wantsHealthCheck: Bool) {
        self.repository = repository
        self.rule = rule
        self.isRetentionFirst = isRetentionFirst
        self.wantsHealthCheck = wantsHealthCheck
    }

    // MARK: Opening and ending

    /// Takes the lock of the machine on the remote.
    func open(for vm: String) async throws -> any VMBackupTarget {
        let target = try await repository.target(for: vm)
        state.withLock { $0.target = target }
        return target
    }

    /// - Throws: What the lane failed with, where it has none.
    func target() throws -> any VMBackupTarget {
        let (target, failure) = state.withLock { ($0.target, $0.failure) }
        guard let target, failure == nil else { throw failure ?? CancellationError() }
        return target
    }

    /// Gives the lock back, where it is held.
    func release() async {
        let target = state.withLock { state in
            defer { state.target = nil }
            return state.target
        }
        await inAnyCase { await target?.release() }
    }

    // MARK: State

    var isAlive: Bool { state.withLock { $0.failure == nil } }
    var isCommitted: Bool { state.withLock { $0.isCommitted } }
    var failure: (any Error)? { state.withLock { $0.failure } }
    var byteCount: UInt64 { state.withLock { $0.byteCount } }

    /// Ends the lane; the first failure counts. What it writes is cancelled, and what it waits for fails.
    func fail(_ error: any Error) {
        let writes = state.withLock { state -> [Task<Void, Never>] in
            guard state.failure == nil else { return [] }
            state.failure = error
            return state.writes
        }
        for write in writes { write.cancel() }
        begun.fail(error)
        transferred.fail(error)
        marked.fail(error)
    }

    /// The failure of a backup of which no target is left.
    static func failure(of lanes: [TargetLane], step: String) -> any Error {
        if Task.isCancelled { return CancellationError() }
        return BackupFailure(
            .unavailable, "all targets have failed, step: \(step)", cause: lanes.lazy.compactMap(\.failure).first)
    }

    // MARK: Writing

    /// Starts to write something, unless the lane has ended. A failure is the lane's; `onFailure` has the source leave it
    /// out.
    ///
    /// - Returns: What ends when nothing is written any more.
    func write(
        _ body: @escaping @Sendable (any VMBackupWriter) async throws -> UInt64,
        onFailure: @escaping @Sendable () -> Void
    ) -> Task<Void, Never>? {
        let write = state.withLock { state -> Task<Void, Never>? in
            // None starts after the lane has ended: the backup may be aborted already.
            guard state.failure == nil else { return nil }
            // Ended by ``fail(_:)``; ``drain()`` waits for it.
            let write = Task {
                do {
                    let byteCount = try await body(try await begun.value())
                    self.state.withLock { $0.byteCount += byteCount }
                } catch {
                    onFailure()
                    fail(error)
                }
            }
            state.writes.append(write)
            return write
        }
        if write == nil { onFailure() }
        return write
    }

    /// Waits until nothing is written any more; after ``fail(_:)``.
    private func drain() async {
        for write in state.withLock({ $0.writes }) { await write.value }
    }

    func progress(_ fraction: Double) { state.withLock { $0.transfer }?.progress(fraction) }

    // MARK: The task

    /// What is exported, as all lanes tell it.
    struct Export: Sendable {
        let plan: VMBackupPlan
        let metadata: VMBackupMetadata
        let isFull: Bool
    }

    /// The task `export`: begins a backup, has it written, makes it visible, and tidies up. Failures are the lane's.
    func export(below task: TaskNode, _ export: Export) async {
        let properties: JSONObject = [
            "type": "remote", "id": .string(repository.remoteID), "isFull": .bool(export.isFull),
        ]
        do {
            try await task.run("export", properties) { node in
                try await self.write(export, below: node)
                try await self.tidy(export.plan, below: node)
            }
        } catch {
            fail(error)
        }
    }

    private func write(_ export: Export, below node: TaskNode) async throws {
        let writer = try await target().begin(export.plan)
        do {
            _ = try await node.run("transfer", result: { .object(["size": .integer($0)]) }) { transfer in
                self.state.withLock { $0.transfer = transfer }
                self.begun.succeed(writer)
                return try await self.transferred.value()
            }
            try await marked.value()
            var metadata = export.metadata
            let labels = try RetentionTable.labels(export.plan.timestamp, by: self.rule)
            if !labels.isEmpty { metadata.json["tags"] = .array(labels.map { .string($0) }) }
            _ = try await writer.commit(metadata)
            state.withLock { $0.isCommitted = true }
        } catch {
            fail(error)
            await inAnyCase {
                await self.drain()
                await writer.abort()
            }
            throw error
        }
    }

    private func tidy(_ plan: VMBackupPlan, below node: TaskNode) async throws {
        let target = try target()
        if !isRetentionFirst {
            try await target.applyRetention(
                rule, mode: plan.mode, scheduleID: plan.scheduleID, isBefore: false, task: node)
        }
        if plan.mode == .delta { try await target.clean(task: node) }
        if wantsHealthCheck {
            await node.tell(BackupFailure(.unsupported, "health checks are not supported yet"), as: "health check", [:])
        }
    }
}
