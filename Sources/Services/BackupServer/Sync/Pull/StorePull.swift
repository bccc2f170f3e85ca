import AccessControl
import BackupFormats
import Datastore
import Platform
import Tasks

/// Pulls namespaces with their groups. (Spec: formats §9.13; rest E.5.)
struct StorePull: Sendable {
    let context: PullContext
    let access: AccessControl

    private var request: SyncRequest { context.request }
    private var task: RunningTask { context.task }

    func run() async throws {
        let sources = try await context.source.namespaces(below: request.remoteNamespace, maxDepth: request.maxDepth)
        task.log("found \(sources.count) namespace(s) at the source")
        var synced: Set<Namespace> = []
        for (number, source) in sources.enumerated() {
            try task.checkAborted()
            do {
                let target = try map(source)
                synced.insert(target)
                if sources.count > 1 || !target.isRoot || !source.isRoot {
                    task.log("sync namespace '\(source)' into '\(target)'")
                }
                try await makeNamespace(target)
                try await pull(source, into: target, number, of: sources.count)
            } catch {
                try note(error, "namespace '\(source)'")
            }
        }
        if request.removesVanished { try await removeVanishedNamespaces(keeping: synced) }
    }

    /// Counts a failure, and throws it on where going on makes no sense.
    private func note(_ error: any Error, _ what: String) throws {
        if error is CancellationError || task.isAborted { throw error }
        context.statistics.add { $0.errors += 1 }
        task.log("sync \(what) failed - \(error)")
        if let failure = error as? BackupFailure, failure.kind == .unavailable || failure.kind == .storageFull {
            throw failure
        }
    }

    private func map(_ source: Namespace) throws -> Namespace {
        let below = source.components.dropFirst(request.remoteNamespace.depth)
        do { return try Namespace(components: request.namespace.components + below) } catch {
            throw BackupFailure(
                .invalidInput, "namespace '\(source)' has no place below '\(request.namespace)'", cause: error)
        }
    }

    /// Makes a namespace with those above it. The owner needs the same privilege as over the API.
    private func makeNamespace(_ namespace: Namespace) async throws {
        let store = context.store
        guard try await !context.workers.run({ try store.namespaceExists(namespace) }) else { return }
        guard let parent = namespace.parent else { return }
        try await makeNamespace(parent)
        try require(.datastoreModify, on: parent, to: "make namespace '\(namespace)'")
        _ = try await context.workers.run { try store.createNamespace(namespace) }
        task.log("made namespace '\(namespace)'")
    }

    private func require(_ privilege: Privileges, on namespace: Namespace, to what: String) throws {
        guard access.privileges(of: request.owner, on: .datastore(request.store, namespace)).contains(privilege) else {
            throw BackupFailure(
                .notAuthorized, "\(request.owner) may not \(what): it needs \(privilege.names.joined())")
        }
    }

    private func pull(_ source: Namespace, into target: Namespace, _ number: Int, of count: Int) async throws {
        let all = try await context.source.groups(in: source)
        let groups = all.filter { request.filters.take($0) }.sorted()
        task.log("found \(groups.count) groups to sync (out of \(all.count) total)")
        for (place, group) in groups.enumerated() {
            try task.checkAborted()
            do {
                try await GroupPull(context: context, group: group, origin: source, namespace: target).run()
            } catch {
                try note(error, "group \(group)")
            }
            let fraction = (Double(number) + Double(place + 1) / Double(groups.count)) / Double(count)
            task.setProgress(fraction)
            task.log("percentage done: \(Int(fraction * 10000) / 100)% (\(place + 1)/\(groups.count) groups)")
        }
        if request.removesVanished { try await removeVanishedGroups(of: target, keeping: Set(all)) }
    }

    // MARK: What vanished

    /// Removes groups of the owner that the filters take and the source no longer has.
    private func removeVanishedGroups(of namespace: Namespace, keeping present: Set<BackupGroup>) async throws {
        let store = context.store
        for entry in try await context.workers.run({ try store.groups(in: namespace) })
        where !present.contains(entry.group) && entry.owner == request.owner && request.filters.take(entry.group) {
            try task.checkAborted()
            do {
                let counts = try await context.workers.run { try store.removeGroup(entry.group, in: namespace) }
                task.log("delete vanished group '\(entry.group)'")
                if counts.protectedSnapshots > 0 {
                    task.warn("kept \(counts.protectedSnapshots) protected snapshot(s) in group '\(entry.group)'")
                }
                context.statistics.add {
                    $0.removedGroups += counts.removedGroups
                    $0.removedSnapshots += counts.removedSnapshots
                }
            } catch let failure as BackupFailure where failure.kind == .conflict {
                task.warn("vanished group '\(entry.group)' was not removed: \(failure)")
            }
        }
    }

    /// Removes namespaces in scope that the source no longer has: their groups as above, then themselves where nothing
    /// is left in them. Deepest first.
    private func removeVanishedNamespaces(keeping present: Set<Namespace>) async throws {
        let (store, request) = (context.store, request)
        let all = try await context.workers.run {
            try store.namespaceExists(request.namespace)
                ? store.namespaces(below: request.namespace, maxDepth: request.maxDepth) : []
        }
        for namespace in all.reversed() where !present.contains(namespace) && namespace != request.namespace {
            try task.checkAborted()
            do {
                guard let parent = namespace.parent else { continue }
                try require(.datastoreModify, on: parent, to: "remove namespace '\(namespace)'")
                try await removeVanishedGroups(of: namespace, keeping: [])
                let counts = try await context.workers.run {
                    try store.removeNamespace(namespace, includingGroups: false)
                }
                guard counts.removedNamespaces > 0 else { continue }
                task.log("delete vanished namespace '\(namespace)'")
                context.statistics.add { $0.removedNamespaces += counts.removedNamespaces }
            } catch let failure as BackupFailure where failure.kind == .conflict {
                task.log("vanished namespace '\(namespace)' stays: \(failure)")
            } catch {
                try note(error, "removal of namespace '\(namespace)'")
            }
        }
    }
}
