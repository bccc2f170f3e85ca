package import AccessControl
package import BackupFormats
import Datastore
import Platform
import Tasks

// Prunes that a caller asks for, each a task of its own. (Spec: rest E.4, D.11.)
extension MaintenanceService {
    /// What a prune of a group would do, oldest first. Blocks.
    package func prunePlan(
        of group: BackupGroup, in place: ContentPlace, options: PruneOptions, by grant: ContentGrant
    ) throws -> [PruneDecision] {
        let store = try ContentService(stores: stores, access: access).store(place, group, .read, grant)
        return plan(try store.snapshots(in: place.namespace, group: group), options)
    }

    /// Prunes a group as a task, and gives what was decided when it is done.
    package func prune(
        _ group: BackupGroup, in place: ContentPlace, options: PruneOptions, by grant: ContentGrant
    ) async throws -> [PruneDecision] {
        let task = tasks.start("prune", id: Self.pruneID(place, group), owner: grant.authID)
        do {
            let decisions = try await workers.run { try prune(group, place, options, grant, task) }
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

    /// Prunes the groups that the request covers, in the background. Groups that the caller may not prune are left alone.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` without the privilege: the original answers 400 here.
    package func startPrune(_ request: PruneRequest, by caller: Identity) async throws -> UPID {
        let place = ContentPlace(store: request.store, namespace: request.namespace)
        do {
            _ = try pruneGrant(place, caller)
        } catch let failure as BackupFailure where failure.kind == .notAuthorized {
            throw BackupFailure(.invalidInput, failure.summary)
        }
        _ = try await workers.run { try stores.datastore(place.store, for: request.operation) }
        return tasks.run("prune", id: "\(place.store):\(place.namespace)", owner: caller.authID) { task in
            try await workers.run {
                try prune(request, in: task) { namespace, owner in
                    let place = ContentPlace(store: request.store, namespace: namespace)
                    return (try? pruneGrant(place, caller)).map { ContentService.sees(owner, $0) } ?? false
                }
            }
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

    private func prune(
        _ group: BackupGroup, _ place: ContentPlace, _ options: PruneOptions, _ grant: ContentGrant, _ task: RunningTask
    ) throws -> [PruneDecision] {
        let use = try stores.use(place.store, for: .write, by: "prune task \(task.upid)")
        defer { use.end() }
        let store = try ContentService(stores: stores, access: access).store(place, group, .write, grant)
        task.log("prune group \(group) of \(place): \(options.inWords)")
        let decisions = plan(try store.snapshots(in: place.namespace, group: group), options)
        try carryOut(decisions, place, store, task, isDryRun: false)
        return decisions
    }
}
