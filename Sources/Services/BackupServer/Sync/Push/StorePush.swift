import BackupFormats
import Datastore
import Platform
import Tasks

/// Pushes namespaces with their groups to a remote. (Spec: protocol C.5; rest E.5.)
struct StorePush: Sendable {
    let context: PushContext

    private var request: SyncRequest { context.request }
    private var task: RunningTask { context.task }

    func run() async throws {
        let sources = try await context.local.namespaces(below: request.namespace, maxDepth: request.maxDepth)
        var present = Set(try await remoteNamespaces())
        var synced: Set<Namespace> = []
        for (number, source) in sources.enumerated() {
            try task.checkAborted()
            do {
                let target = try map(source)
                synced.insert(target)
                if sources.count > 1 || !target.isRoot || !source.isRoot {
                    task.log("sync namespace '\(source)' into '\(target)'")
                }
                try await makeNamespace(target, &present)
                try await push(source, into: target, number, of: sources.count)
            } catch {
                try note(error, "namespace '\(source)'")
            }
        }
        if request.removesVanished { try await removeVanishedNamespaces(present, keeping: synced) }
    }

    private func note(_ error: any Error, _ what: String) throws {
        if error is CancellationError || task.isAborted { throw error }
        context.statistics.add { $0.errors += 1 }
        task.log("sync \(what) failed - \(error)")
        if let failure = error as? BackupFailure, failure.kind == .unavailable { throw failure }
    }

    private func map(_ source: Namespace) throws -> Namespace {
        let below = source.components.dropFirst(request.namespace.depth)
        do { return try Namespace(components: request.remoteNamespace.components + below) } catch {
            throw BackupFailure(
                .invalidInput, "namespace '\(source)' has no place below '\(request.remoteNamespace)'", cause: error)
        }
    }

    /// All that the remote has, from its root: what is above the target may have to be made too.
    private func remoteNamespaces() async throws -> [Namespace] {
        try await context.catalog.namespaces(below: .root, maxDepth: Namespace.maxDepth)
    }

    private func makeNamespace(_ namespace: Namespace, _ present: inout Set<Namespace>) async throws {
        guard !present.contains(namespace), let parent = namespace.parent, let name = namespace.components.last else {
            return
        }
        try await makeNamespace(parent, &present)
        var parameters: JSONObject = ["name": .string(name)]
        if !parent.isRoot { parameters["parent"] = .string("\(parent)") }
        _ = try await context.catalog.call("POST", "/namespace", parameters)
        task.log("made namespace '\(namespace)' at the remote")
        present.insert(namespace)
    }

    private func push(_ source: Namespace, into target: Namespace, _ number: Int, of count: Int) async throws {
        let all = try await context.local.groups(in: source)
        let groups = all.filter { request.filters.take($0) }.sorted()
        task.log("found \(groups.count) groups to sync (out of \(all.count) total)")
        let remote = Dictionary(
            try await context.catalog.groups(in: target).map { ($0.group, $0) }, uniquingKeysWith: { first, _ in first }
        )
        for (place, group) in groups.enumerated() {
            try task.checkAborted()
            do {
                try await push(group, source, target, exists: remote[group] != nil)
            } catch {
                try note(error, "group \(group)")
            }
            let fraction = (Double(number) + Double(place + 1) / Double(groups.count)) / Double(count)
            task.setProgress(fraction)
            task.log("percentage done: \(Int(fraction * 10000) / 100)% (\(place + 1)/\(groups.count) groups)")
        }
        guard request.removesVanished else { return }
        for group in remote.values.sorted(by: { $0.group < $1.group }) where !all.contains(group.group) {
            try await removeGroup(group, in: target)
        }
    }

    /// Ends at the first snapshot that fails: the remote takes none that is older than its newest.
    private func push(_ group: BackupGroup, _ source: Namespace, _ target: Namespace, exists: Bool) async throws {
        task.log("sync group \(group)")
        let local = try await context.local.snapshots(of: group, in: source)
        let there = exists ? try await context.catalog.snapshots(of: group, in: target) : []
        let newest = there.filter(\.isFinished).map(\.name).max()
        let candidates = local.filter {
            $0.isFinished && (!request.isVerifiedOnly || $0.isVerified) && (!request.isEncryptedOnly || $0.isEncrypted)
        }
        let chosen = request.transferLast.map { Array(candidates.suffix($0)) } ?? candidates
        for snapshot in chosen.map(\.name) {
            try task.checkAborted()
            if let newest, snapshot <= newest {
                if there.contains(where: { $0.name == snapshot }) {
                    context.statistics.add { $0.unchanged += 1 }
                } else {
                    task.log("skipped: \(snapshot), older than the newest snapshot at the remote")
                    context.statistics.add { $0.skipped += 1 }
                }
                continue
            }
            try await SnapshotPush(context: context, snapshot: snapshot, namespace: source, target: target).run()
        }
        context.statistics.add { $0.skipped += local.count - chosen.count }
        guard request.removesVanished else { return }
        let present = Set(local.map(\.name))
        for snapshot in there where snapshot.isFinished && !present.contains(snapshot.name) {
            try await removeSnapshot(snapshot.name, in: target)
        }
    }

    // MARK: What vanished

    /// What the remote refuses to remove stays and is a warning: it may be protected, or somebody else's.
    private func removeSnapshot(_ snapshot: SnapshotName, in namespace: Namespace) async throws {
        var parameters = RemoteCatalog.place(namespace)
        parameters["backup-type"] = .string(snapshot.group.type.rawValue)
        parameters["backup-id"] = .string(snapshot.group.id)
        parameters["backup-time"] = .integer(snapshot.time)
        guard try await remove("/snapshots", parameters, "vanished snapshot \(snapshot)") != nil else { return }
        context.statistics.add { $0.removedSnapshots += 1 }
    }

    /// Leaves alone what the filters do not take, and what is not this server's.
    private func removeGroup(_ vanished: RemoteCatalog.Group, in namespace: Namespace) async throws {
        let group = vanished.group
        guard request.filters.take(group), context.remote.owns(vanished) else { return }
        var parameters = RemoteCatalog.place(namespace)
        parameters["backup-type"] = .string(group.type.rawValue)
        parameters["backup-id"] = .string(group.id)
        for member in context.remote.leavesProtected.members { parameters[member.name] = member.value }
        guard let answer = try await remove("/groups", parameters, "vanished group '\(group)'") else { return }
        let kept = answer["protected-snapshots"]?.intValue ?? 0
        if kept > 0 { task.warn("the remote kept \(kept) protected snapshot(s) in group '\(group)'") }
        context.statistics.add {
            $0.removedGroups += kept > 0 ? 0 : 1
            $0.removedSnapshots += Int(answer["removed-snapshots"]?.intValue ?? 0)
        }
    }

    private func removeVanishedNamespaces(_ present: Set<Namespace>, keeping synced: Set<Namespace>) async throws {
        let top = request.remoteNamespace
        let vanished = present.filter {
            top.contains($0) && $0 != top && $0.depth - top.depth <= request.maxDepth && !synced.contains($0)
        }
        for namespace in vanished.sorted().reversed() {
            try task.checkAborted()
            for group in try await context.catalog.groups(in: namespace) {
                try await removeGroup(group, in: namespace)
            }
            let what = "vanished namespace '\(namespace)'"
            guard try await remove("/namespace", ["ns": .string("\(namespace)")], what) != nil else { continue }
            context.statistics.add { $0.removedNamespaces += 1 }
        }
    }

    /// - Returns: The remote's answer; nil where it refused.
    private func remove(_ path: String, _ parameters: JSONObject, _ what: String) async throws -> JSONValue? {
        try task.checkAborted()
        do {
            let answer = try await context.catalog.call("DELETE", path, parameters)
            task.log("delete \(what)")
            return answer
        } catch let failure as BackupFailure where failure.kind != .unavailable {
            task.warn("\(what) was not removed: \(failure)")
            return nil
        }
    }
}
