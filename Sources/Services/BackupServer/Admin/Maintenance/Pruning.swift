import BackupFormats
import Datastore
import Platform
package import Tasks

// What a prune does, inside a task that somebody else has opened. Whether the caller may was asked before.
extension MaintenanceService {
    /// Prunes all groups that the request covers. What cannot be removed now, or not even be read, stays and is a warning.
    ///
    /// - Throws: ``BackupFailure``: what ``DatastoreRegistry/datastore(_:for:)`` throws, `noSuchObject` for the namespace,
    ///   `cancelled`.
    package func prune(_ request: PruneRequest, in task: RunningTask) async throws {
        try await workers.run { try prune(request, in: task) { _, _ in true } }
    }

    /// - Parameter isWanted: Asked for each group, with its owner.
    func prune(
        _ request: PruneRequest, in task: RunningTask, where isWanted: (Namespace, AuthID?) throws -> Bool
    ) throws {
        let use = try stores.use(request.store, for: request.operation, by: "prune task \(task.upid)")
        defer { use.end() }
        let start = ContentPlace(store: request.store, namespace: request.namespace)
        task.log("prune \(start)\(request.isDryRun ? " (dry run)" : ""): \(request.options.inWords)")
        let namespaces = try use.store.namespaces(below: request.namespace, maxDepth: request.maxDepth)
        for (index, namespace) in namespaces.enumerated() {
            let place = ContentPlace(store: request.store, namespace: namespace)
            for group in try use.store.groupNames(in: namespace) {
                try task.checkAborted()
                do {
                    let entries = try use.store.snapshots(in: namespace, group: group)
                    guard try isWanted(namespace, entries.first?.owner) else { continue }
                    task.log("group \(group) of \(place)")
                    let decisions = plan(entries, request.options)
                    try carryOut(decisions, place, use.store, task, isDryRun: request.isDryRun)
                } catch let failure as BackupFailure where failure.kind != .cancelled {
                    task.warn("group \(group) of \(place) was not pruned: \(failure)")
                }
            }
            task.setProgress(Double(index + 1) / Double(namespaces.count))
        }
    }

    /// - Returns: Oldest first.
    func plan(_ entries: [SnapshotEntry], _ options: PruneOptions) -> [PruneDecision] {
        let byTime = Dictionary(entries.map { ($0.name.time, $0.name) }, uniquingKeysWith: { first, _ in first })
        let candidates = entries.map {
            PruneCandidate(
                time: $0.name.time, isFinished: $0.isFinished, isProtected: $0.isProtected,
                isRunning: $0.runningTask != nil)
        }
        return PruneSelection.verdicts(candidates, options: options, offset: localOffset).compactMap { verdict in
            byTime[verdict.candidate.time].map {
                PruneDecision(
                    name: $0, mark: verdict.mark, reason: verdict.reason, isProtected: verdict.candidate.isProtected)
            }
        }
    }

    /// Removes oldest first. What cannot be removed now stays and is a warning of the task.
    func carryOut(
        _ decisions: [PruneDecision], _ place: ContentPlace, _ store: Datastore, _ task: RunningTask, isDryRun: Bool
    ) throws {
        for decision in decisions {
            try task.checkAborted()
            let would = isDryRun ? "would " : ""
            guard decision.mark == .remove else {
                task.log("\(would)keep \(decision.name) (\(decision.reason))")
                continue
            }
            do {
                if !isDryRun { try store.removeSnapshot(decision.name, in: place.namespace) }
                task.log("\(would)remove \(decision.name) (\(decision.reason))")
            } catch {
                task.warn("\(decision.name) was not removed: \(error)")
            }
        }
    }
}

extension PruneOptions {
    var inWords: String { keepsEverything ? "no rules, everything is kept" : "\(self)" }
}
