import BackupFormats
import Datastore
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Tasks

/// Makes operations of tasks and snapshots. (Spec: backrest-sync §9.1.)
struct OperationMaker: Sendable {
    static let clientLog = "client.log.blob"
    private static let maxMessageBytes = 2 << 10

    let instanceID: String

    // MARK: Tasks

    /// What is known of a task beside its entry in the list.
    struct TaskFacts {
        let store: StoreView
        /// Sessions: on which snapshot they work, and where.
        var session: (snapshot: SnapshotName, namespace: Namespace)?
        /// Of an ended task.
        var log: TaskLogDigest?
        /// Of the snapshot that a backup has made.
        var manifest: Manifest?
    }

    func operation(of task: TaskInfo, _ facts: TaskFacts) throws -> OwnOperationContent {
        let upid = task.upid
        var operation = WireOperation()
        operation.logref = "\(upid)"
        operation.unixTimeStartMs = max(1, upid.startTime * 1000)
        if let end = task.endTime { operation.unixTimeEndMs = max(operation.unixTimeStartMs, end * 1000) }
        operation.status = Self.status(task)
        operation.displayMessage = Self.message(task, facts.log)
        var content = OwnOperationContent(
            subject: OwnSubject.task("\(upid)"), snapshot: "", repo: facts.store.name, repoGUID: facts.store.guid,
            plan: MemberScope.maintenancePlan, kind: 0, start: operation.unixTimeStartMs, isRunning: task.isRunning,
            payload: [])
        switch upid.workerType {
        case "backup":
            content.kind = OperationKind.backup
            operation.operationBackup = backup(task, facts)
            if let session = facts.session {
                content.snapshot = facts.store.snapshotID(session.snapshot, in: session.namespace)
                content.plan = StoreView.plan(facts.store.name, session.namespace)
                if Self.hasSucceeded(task) { operation.snapshotID = content.snapshot }
            }
        case "reader":
            content.kind = OperationKind.restore
            operation.operationRestore = restore(task, facts)
            if let session = facts.session {
                content.plan = StoreView.plan(facts.store.name, session.namespace)
                operation.snapshotID = facts.store.snapshotID(session.snapshot, in: session.namespace)
            }
        case "prune", "prunejob":
            content.kind = OperationKind.forget
            operation.operationForget = forget(facts)
        case "garbage_collection":
            content.kind = OperationKind.prune
            operation.operationPrune.outputLogref = "\(upid)"
        case "verify", "verificationjob", "verify_snapshot", "verify_group":
            content.kind = OperationKind.check
            operation.operationCheck.outputLogref = "\(upid)"
        default:
            content.kind = OperationKind.command
            operation.operationRunCommand.command = [upid.workerType, upid.workerID ?? ""].joined(separator: " ")
            operation.operationRunCommand.outputLogref = "\(upid)"
            operation.operationRunCommand.outputSizeBytes = Int64(facts.log?.byteCount ?? 0)
        }
        return try finish(content, operation)
    }

    private func finish(_ content: OwnOperationContent, _ operation: WireOperation) throws -> OwnOperationContent {
        var (content, operation) = (content, operation)
        operation.repoID = content.repo
        operation.repoGuid = content.repoGUID
        operation.planID = content.plan
        operation.instanceID = instanceID
        content.payload = try operation.serializedBytes()
        return content
    }

    private static func hasSucceeded(_ task: TaskInfo) -> Bool {
        task.status.map { [.ok, .warning].contains(TaskStatus.classify($0)) } ?? false
    }

    private static func status(_ task: TaskInfo) -> WireOperationStatus {
        guard let status = task.status, !task.isRunning else { return .statusInprogress }
        switch status {
        case TaskStatus.aborted: return .statusUserCancelled
        case TaskStatus.interrupted, TaskStatus.unknown: return .statusSystemCancelled
        default: break
        }
        switch TaskStatus.classify(status) {
        case .ok: return .statusSuccess
        case .warning: return .statusWarning
        case .error, .unknown: return .statusError
        }
    }

    /// How the task ended and the last lines of its log, where it did not just end well.
    private static func message(_ task: TaskInfo, _ log: TaskLogDigest?) -> String {
        guard let status = task.status, !task.isRunning, status != TaskStatus.ok else { return "" }
        let first = String(decoding: status.utf8.prefix(maxMessageBytes), as: UTF8.self)
        guard let tail = log?.tail, !tail.isEmpty else { return first }
        return "\(first)\n\n\(tail)"
    }

    private func backup(_ task: TaskInfo, _ facts: TaskFacts) -> WireOperationBackup {
        var backup = WireOperationBackup()
        if task.isRunning {
            backup.lastStatus.status.percentDone = Self.rounded(task.progress ?? 0)
            return backup
        }
        backup.errors = (facts.log?.warnings ?? []).map { text in
            var error = WireBackupProgressError()
            error.during = "backup"
            error.message = text
            return error
        }
        guard Self.hasSucceeded(task), let session = facts.session else { return backup }
        var summary = WireBackupProgressSummary()
        summary.snapshotID = facts.store.snapshotID(session.snapshot, in: session.namespace)
        summary.totalDuration = Double(max(0, (task.endTime ?? 0) - task.upid.startTime))
        if let manifest = facts.manifest {
            summary.totalFilesProcessed = Int64(manifest.files.count)
            summary.filesNew = Int64(manifest.files.count)
            summary.totalBytesProcessed = Self.size(of: manifest)
            summary.dataAdded = Self.added(by: manifest)
            summary.dataBlobs = Int64(clamping: manifest.uploadStatistics.map { $0.count &- $0.duplicates } ?? 0)
        }
        backup.lastStatus.summary = summary
        return backup
    }

    /// Steps of a thousandth, so that not each glimpse of progress is a change.
    static func rounded(_ fraction: Double) -> Double { (fraction * 1000).rounded(.down) / 1000 }

    private static func size(of manifest: Manifest) -> Int64 {
        Int64(clamping: manifest.files.reduce(UInt64(0)) { $0.addingReportingOverflow($1.size).partialValue })
    }

    private static func added(by manifest: Manifest) -> Int64 {
        Int64(clamping: manifest.uploadStatistics?.compressedSize ?? 0)
    }

    private func restore(_ task: TaskInfo, _ facts: TaskFacts) -> WireOperationRestore {
        var restore = WireOperationRestore()
        restore.path = facts.session.map { "\($0.snapshot)" } ?? task.upid.workerID ?? ""
        restore.target = "\(task.owner)"
        if !task.isRunning {
            restore.lastStatus.messageType = "summary"
            restore.lastStatus.secondsElapsed = Double(max(0, (task.endTime ?? 0) - task.upid.startTime))
            restore.lastStatus.percentDone = Self.hasSucceeded(task) ? 1 : 0
        }
        return restore
    }

    private func forget(_ facts: TaskFacts) -> WireOperationForget {
        var forget = WireOperationForget()
        forget.forget = (facts.log?.removed ?? []).map { removed in
            var snapshot = WireResticSnapshot()
            snapshot.id = facts.store.snapshotID(removed.snapshot, in: removed.namespace)
            snapshot.unixTimeMs = removed.snapshot.time * 1000
            snapshot.hostname = removed.snapshot.group.id
            snapshot.tags = [
                "plan:\(StoreView.plan(facts.store.name, removed.namespace))",
                "type:\(removed.snapshot.group.type.rawValue)",
            ]
            return snapshot
        }
        guard let keeps = facts.log?.keeps else { return forget }
        if keeps.isEmpty {
            forget.policy.policyKeepAll = true
        } else {
            forget.policy.policyTimeBucketed = Self.buckets { keeps[$0] ?? 0 }
        }
        return forget
    }

    /// - Parameter value: Of a rule by name: `last`, `hourly`, `daily`, `weekly`, `monthly`, `yearly`.
    static func buckets(_ value: (String) -> Int32) -> WireRetentionPolicy.TimeBucketedCounts {
        var buckets = WireRetentionPolicy.TimeBucketedCounts()
        buckets.keepLastN = value("last")
        buckets.hourly = value("hourly")
        buckets.daily = value("daily")
        buckets.weekly = value("weekly")
        buckets.monthly = value("monthly")
        buckets.yearly = value("yearly")
        return buckets
    }

    /// The figures of a garbage collection, in the flow of its task.
    func statistics(
        of task: TaskInfo, in store: StoreView, _ figures: CollectionStatus, snapshots: Int
    ) throws -> OwnOperationContent {
        var operation = WireOperation()
        let end = max(1, (task.endTime ?? task.upid.startTime) * 1000)
        operation.unixTimeStartMs = end
        operation.unixTimeEndMs = end
        operation.status = .statusSuccess
        var stats = WireRepoStats()
        stats.totalSize = figures.diskByteCount
        stats.totalUncompressedSize = figures.indexDataByteCount
        stats.compressionRatio =
            figures.diskByteCount > 0 ? Double(figures.indexDataByteCount) / Double(figures.diskByteCount) : 0
        stats.totalBlobCount = figures.diskChunkCount
        stats.snapshotCount = Int64(snapshots)
        operation.operationStats.stats = stats
        return try finish(
            OwnOperationContent(
                subject: OwnSubject.stats("\(task.upid)"), snapshot: "", cause: OwnSubject.task("\(task.upid)"),
                repo: store.name, repoGUID: store.guid, plan: MemberScope.maintenancePlan, kind: OperationKind.stats,
                start: end, payload: []), operation)
    }

    // MARK: Snapshots

    func operation(
        of entry: SnapshotEntry, manifest: Manifest?, in store: StoreView, fingerprint: Int64
    ) throws -> OwnOperationContent {
        let id = store.snapshotID(entry.name, in: entry.namespace)
        let plan = StoreView.plan(store.name, entry.namespace)
        let time = max(1, entry.name.time * 1000)
        var snapshot = WireResticSnapshot()
        snapshot.id = id
        snapshot.unixTimeMs = entry.name.time * 1000
        snapshot.hostname = entry.name.group.id
        snapshot.username = entry.owner.map { "\($0)" } ?? ""
        snapshot.paths = entry.files.map { "\($0.name)" }.filter {
            $0 != "\(ArchiveName.manifest)" && $0 != Self.clientLog
        }
        snapshot.tags = ["plan:\(plan)", "created-by:\(instanceID)", "type:\(entry.name.group.type.rawValue)"]
        if let outcome = manifest?.verifyState?.outcome { snapshot.tags.append("verified:\(outcome.rawValue)") }
        if entry.isProtected { snapshot.tags.append("protected") }
        if let manifest {
            snapshot.summary.totalFilesProcessed = Int64(manifest.files.count)
            snapshot.summary.totalBytesProcessed = Self.size(of: manifest)
            snapshot.summary.dataAdded = Self.added(by: manifest)
        }
        var operation = WireOperation()
        operation.snapshotID = id
        operation.unixTimeStartMs = time
        operation.unixTimeEndMs = time
        operation.status = .statusSuccess
        operation.operationIndexSnapshot.snapshot = snapshot
        return try finish(
            OwnOperationContent(
                subject: OwnSubject.snapshot(id), snapshot: id, repo: store.name, repoGUID: store.guid, plan: plan,
                kind: OperationKind.snapshot, start: time, isForgotten: false, fingerprint: fingerprint, payload: []),
            operation)
    }

    /// The same operation, of a snapshot that is gone.
    func forgotten(_ content: OwnOperationContent) throws -> OwnOperationContent {
        var (content, operation) = (content, try WireOperation(serializedBytes: content.payload))
        operation.operationIndexSnapshot.forgot = true
        content.payload = try operation.serializedBytes()
        content.isForgotten = true
        content.fingerprint = 0
        return content
    }
}
