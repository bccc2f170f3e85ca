package import AccessControl
package import BackupFormats
import Datastore
import Platform
import Tasks

/// What a prune decided about one snapshot.
package struct PruneDecision: Sendable {
    package let name: SnapshotName
    package let mark: PruneMark
    package let isProtected: Bool
}

extension MaintenanceService {
    /// What a prune of a group would do, oldest first. Blocks.
    package func prunePlan(
        of group: BackupGroup, in place: ContentPlace, options: PruneOptions, by grant: ContentGrant
    ) throws -> [PruneDecision] {
        let content = ContentService(stores: stores, access: access)
        let store = try content.store(place, group, .read, grant)
        return try plan(group, place.namespace, options, store)
    }

    /// Prunes a group as a task, and gives what was decided when it is done.
    package func prune(
        _ group: BackupGroup, in place: ContentPlace, options: PruneOptions, by grant: ContentGrant
    ) async throws -> [PruneDecision] {
        let task = startPrune(group, place, grant)
        do {
            let decisions = try await workers.run {
                try prune(group, place, options, grant, task)
            }
            task.finish()
            // Whoever has the answer finds the task ended.
            await tasks.waitUntilStopped(task.upid)
            return decisions
        } catch {
            task.finish(.error("\(error)"))
            throw error
        }
    }

    /// Starts the same in the background, once the caller was found to be the owner where it must be.
    package func startPrune(
        of group: BackupGroup, in place: ContentPlace, options: PruneOptions, by grant: ContentGrant
    ) async throws -> UPID {
        try await workers.run {
            _ = try ContentService(stores: stores, access: access).store(place, group, .write, grant)
        }
        return tasks.run("prune", id: Self.pruneID(place, group), owner: grant.authID) { task in
            _ = try await workers.run { try prune(group, place, options, grant, task) }
        }
    }

    /// Prunes the groups of a namespace, and of those down to `maxDepth` levels below it, in the background. Groups that
    /// the caller may not prune are left alone.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` without the privilege: the original answers 400 here.
    package func startPrune(
        below place: ContentPlace, maxDepth: Int, options: PruneOptions, isDryRun: Bool, by caller: Identity
    ) async throws -> UPID {
        do {
            _ = try pruneGrant(place, caller)
        } catch let failure as BackupFailure where failure.kind == .notAuthorized {
            throw BackupFailure(.invalidInput, failure.summary)
        }
        _ = try await workers.run { try stores.datastore(place.store, for: .write) }
        return tasks.run("prune", id: "\(place.store):\(place.namespace)", owner: caller.authID) { task in
            try await workers.run { try prune(below: place, maxDepth, options, isDryRun, caller, task) }
        }
    }

    private func pruneGrant(_ place: ContentPlace, _ caller: Identity) throws -> ContentGrant {
        try access.contentGrant(
            full: .datastoreModify, partial: .datastorePrune, store: place.store, namespace: place.namespace, to: caller
        )
    }

    private static func pruneID(_ place: ContentPlace, _ group: BackupGroup) -> String {
        "\(place.store):\(place.namespace):\(group)"
    }

    private func startPrune(_ group: BackupGroup, _ place: ContentPlace, _ grant: ContentGrant) -> RunningTask {
        tasks.start("prune", id: Self.pruneID(place, group), owner: grant.authID)
    }

    private func plan(
        _ group: BackupGroup, _ namespace: Namespace, _ options: PruneOptions, _ store: Datastore
    ) throws -> [PruneDecision] {
        let entries = try store.snapshots(in: namespace, group: group)
        let byTime = Dictionary(entries.map { ($0.name.time, $0) }, uniquingKeysWith: { first, _ in first })
        let candidates = entries.map {
            PruneCandidate(
                time: $0.name.time, isFinished: $0.isFinished, isProtected: $0.isProtected,
                isRunning: $0.runningTask != nil)
        }
        return PruneSelection.marks(candidates, options: options, offset: localOffset).compactMap { candidate, mark in
            byTime[candidate.time].map {
                PruneDecision(name: $0.name, mark: mark, isProtected: candidate.isProtected)
            }
        }
    }

    @discardableResult
    private func prune(
        _ group: BackupGroup, _ place: ContentPlace, _ options: PruneOptions, _ grant: ContentGrant, _ task: RunningTask
    ) throws -> [PruneDecision] {
        let store = try ContentService(stores: stores, access: access).store(place, group, .write, grant)
        task.log(
            "prune group \(group) of \(place): \(options.keepsEverything ? "no rules, everything is kept" : "\(options)")"
        )
        let decisions = try plan(group, place.namespace, options, store)
        try carryOut(decisions, place, store, task)
        return decisions
    }

    private func prune(
        below place: ContentPlace, _ maxDepth: Int, _ options: PruneOptions, _ isDryRun: Bool, _ caller: Identity,
        _ task: RunningTask
    ) throws {
        let store = try stores.datastore(place.store, for: .write)
        task.log("prune \(place): \(options.keepsEverything ? "no rules, everything is kept" : "\(options)")")
        for namespace in try store.namespaces(below: place.namespace, maxDepth: maxDepth) {
            let place = ContentPlace(store: place.store, namespace: namespace)
            guard let grant = try? pruneGrant(place, caller) else { continue }
            for entry in try store.groups(in: namespace) where ContentService.sees(entry.owner, grant) {
                try task.checkAborted()
                task.log("group \(entry.group) of \(place)")
                let decisions = try plan(entry.group, namespace, options, store)
                if isDryRun {
                    for decision in decisions {
                        task.log("would \(decision.mark.isKept ? "keep" : "remove") \(decision.name)")
                    }
                } else {
                    try carryOut(decisions, place, store, task)
                }
            }
        }
    }

    /// Removes oldest first. What cannot be removed now stays and is a warning of the task.
    private func carryOut(
        _ decisions: [PruneDecision], _ place: ContentPlace, _ store: Datastore, _ task: RunningTask
    ) throws {
        for decision in decisions {
            try task.checkAborted()
            guard decision.mark == .remove else {
                task.log("keep \(decision.name)\(decision.isProtected ? " (protected)" : "")")
                continue
            }
            do {
                try store.removeSnapshot(decision.name, in: place.namespace)
                task.log("remove \(decision.name)")
            } catch {
                task.warn("\(decision.name) was not removed: \(error)")
            }
        }
    }
}
