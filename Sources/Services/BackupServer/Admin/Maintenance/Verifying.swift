import BackupFormats
import Datastore
import Platform
package import Tasks

// What a verification does, inside a task that somebody else has opened. Whether the caller may was asked before.
extension MaintenanceService {
    /// Verifies what the request covers, group by group, the newest snapshot first. Each result is written into its
    /// manifest at once, so that a run that was stopped goes on behind what it had finished: ``VerifyRequest/ignoresVerified``.
    ///
    /// - Throws: ``BackupFailure``: `corruptData` at the end where snapshots are damaged, `cancelled`, `noSuchObject`,
    ///   what ``DatastoreRegistry/use(_:for:by:)`` throws.
    package func verify(_ request: VerifyRequest, in task: RunningTask) async throws {
        try await onOwnThread { try verify(request, in: task) { _, _ in true } }
    }

    /// It may take hours, and the workers are for what somebody waits for.
    func onOwnThread(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await WorkerPool(name: "verification", width: 1).run(body)
    }

    /// - Parameter isWanted: Asked for each group, with its owner.
    func verify(
        _ request: VerifyRequest, in task: RunningTask, where isWanted: (Namespace, AuthID?) throws -> Bool
    ) throws {
        let use = try stores.use(request.store, for: .write, by: "verification task \(task.upid)")
        defer { use.end() }
        var run = try VerifyRun(self, request, use.store, task)
        if let snapshot = request.snapshot {
            let entry = try use.store.snapshot(snapshot, in: request.namespace)
            run.verify(SnapshotDescription(entry, in: use.store))
        } else if let group = request.group {
            try run.verify(group, in: request.namespace)
        } else {
            try run.verifyAll(where: isWanted)
        }
        try run.finish()
    }
}

/// One run over the groups of a request.
private struct VerifyRun {
    private let request: VerifyRequest
    private let store: Datastore
    private let task: RunningTask
    private let now: Int64
    private let verifier: SnapshotVerifier
    private var checked = 0
    private var failed: [String] = []
    private var groupCount = 1
    private var doneGroups = 0
    private var failure: (any Error)?

    init(_ service: MaintenanceService, _ request: VerifyRequest, _ store: Datastore, _ task: RunningTask) throws {
        self.request = request
        self.store = store
        self.task = task
        now = service.time.seconds
        var effort = try service.stores.record(request.store).verifyEffort()
        if let threads = request.readThreads { effort.readThreads = threads }
        if let threads = request.verifyThreads { effort.verifyThreads = threads }
        if let rate = request.rate { effort.bytesPerSecond = rate }
        verifier = SnapshotVerifier(
            store, task: "\(task.upid)", effort: effort, isCancelled: { task.isAborted }, log: { task.log($0) })
    }

    private func label(_ name: some CustomStringConvertible, in namespace: Namespace) -> String {
        "\(ContentPlace(store: request.store, namespace: namespace)):\(name)"
    }

    mutating func verifyAll(where isWanted: (Namespace, AuthID?) throws -> Bool) throws {
        task.log("verify datastore \(request.place)")
        var groups: [(Namespace, BackupGroup)] = []
        for namespace in try store.namespaces(below: request.namespace, maxDepth: request.maxDepth) {
            for group in try store.groupNames(in: namespace) where !Self.isBenchmark(group) {
                // Of a group whose owner cannot be read, the owner is nobody.
                guard try isWanted(namespace, try? store.owner(of: group, in: namespace)) else { continue }
                groups.append((namespace, group))
            }
        }
        task.log("found \(groups.count) groups")
        groupCount = groups.count
        for (namespace, group) in groups {
            try task.checkAborted()
            do {
                try verify(group, in: namespace)
            } catch let failure as BackupFailure where failure.kind != .cancelled && self.failure == nil {
                task.log("error: group \(label(group, in: namespace)) was not verified: \(failure)")
                failed.append("\(group)")
                doneGroups += 1
            }
        }
    }

    /// Its snapshots are removed at once; what a crash of the original has left there is nobody's backup.
    private static func isBenchmark(_ group: BackupGroup) -> Bool { group.type == .host && group.id == "benchmark" }

    /// Newest first: what is restored most likely.
    mutating func verify(_ group: BackupGroup, in namespace: Namespace) throws {
        let snapshots = try store.snapshots(in: namespace, group: group).filter { $0.runningTask == nil }
        task.log("verify group \(label(group, in: namespace)) (\(snapshots.count) snapshots)")
        for (index, entry) in snapshots.reversed().enumerated() {
            try task.checkAborted()
            if entry.isFinished {
                verify(SnapshotDescription(entry, in: store))
            } else {
                task.log("SKIPPED: verify \(label(entry.name, in: namespace)) (not finished)")
            }
            if let failure { throw failure }
            showProgress(index + 1, snapshots.count)
        }
        if snapshots.isEmpty { showProgress(1, 1) }
    }

    private mutating func showProgress(_ done: Int, _ count: Int) {
        let fraction = (Double(doneGroups) + Double(done) / Double(count)) / Double(groupCount)
        if done == count { doneGroups += 1 }
        let inside = done < count ? ", \(done)/\(count) snapshots in group #\(doneGroups + 1)" : ""
        task.log("percentage done: \(Decimals.text(fraction * 100, 2))% (\(doneGroups)/\(groupCount) groups\(inside))")
        task.setProgress(fraction)
    }

    /// Damage is counted. What ends the whole run is kept for the caller.
    mutating func verify(_ snapshot: SnapshotDescription) {
        let (name, namespace) = (snapshot.entry.name, snapshot.entry.namespace)
        let label = label(name, in: namespace)
        guard request.takes(snapshot.verification, now: now) else {
            return task.log("SKIPPED: verify \(label) (recently verified)")
        }
        task.log("verify \(label)")
        do {
            let reader = try store.openReader(name, in: namespace, purpose: "verification task \(task.upid)")
            defer { reader.close() }
            let outcome = try verifier.verify(reader)
            checked += 1
            if !outcome.isGood { failed.append(namespace.isRoot ? "\(name)" : "\(namespace):\(name)") }
        } catch let failure as BackupFailure where failure.kind == .noSuchObject || failure.kind == .conflict {
            // It went away meanwhile, or it is in use.
            task.warn("\(label) was not verified: \(failure)")
        } catch {
            failure = error
        }
    }

    func finish() throws {
        if let failure { throw failure }
        try task.checkAborted()
        guard !failed.isEmpty else { return }
        task.log("Failed to verify the following snapshots/groups:")
        for name in failed { task.log("\t\(name)") }
        throw BackupFailure(
            .corruptData,
            "verification failed - please check the log for details (\(failed.count) of \(checked) snapshots are damaged)"
        )
    }
}
