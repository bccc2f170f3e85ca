import BackupFormats
import BlobCoding
import Datastore
import Platform
import Tasks

/// Everything that a pull works with.
struct PullContext: Sendable {
    let request: SyncRequest
    let store: Datastore
    let source: any SyncSource
    let task: RunningTask
    let workers: WorkerPool
    let coders: BlobCoders
    let policy: SyncPolicy
    let statistics: SyncStatistics

    /// Whether the source is the target's own datastore.
    var isSameStore: Bool { request.remote == nil && request.remoteStore == request.store }
}

/// Brings one group up to the source's state. (Spec: formats §9.13, step 2.)
struct GroupPull: Sendable {
    let context: PullContext
    let group: BackupGroup
    /// At the source.
    let origin: Namespace
    /// Here.
    let namespace: Namespace

    /// Ends at the first snapshot that fails: later ones would make it seem to be done.
    func run() async throws {
        let (store, task) = (context.store, context.task)
        let (group, namespace, owner) = (group, namespace, context.request.owner)
        task.log("sync group \(group)")
        let local = try await context.workers.run {
            try Self.checkOwner(owner, of: group, in: namespace, store)
            return try store.snapshots(in: namespace, group: group).map { SnapshotDescription($0, in: store) }
        }
        let source = try await context.source.snapshots(of: group, in: origin)
        let selection = PullSelection(request: context.request, local: local)
        let choices = selection.choices(source)
        logSkipped(choices)
        let trusted = try await trustedChunks(selection.newest, local)
        for (snapshot, choice) in choices {
            try task.checkAborted()
            switch choice {
            case .skip: continue
            case .copy, .again:
                try await pull(snapshot.name, isAgain: choice == .again, trusted)
            }
        }
        if context.request.removesVanished { try await removeVanished(Set(source.map(\.name)), local) }
    }

    static func checkOwner(
        _ owner: AuthID, of group: BackupGroup, in namespace: Namespace, _ store: Datastore
    ) throws {
        let found: AuthID
        do { found = try store.owner(of: group, in: namespace) } catch let failure as BackupFailure
            where failure.kind == .noSuchObject
        { return }
        guard found == owner else {
            throw BackupFailure(.conflict, "Group \(group) here belongs to \(found), not to \(owner)")
        }
    }

    private func logSkipped(_ choices: [(snapshot: SourceSnapshot, choice: PullSelection.Choice)]) {
        var reasons: [(reason: String, names: [SnapshotName])] = []
        for case (let snapshot, .skip(let reason)) in choices {
            if let index = reasons.firstIndex(where: { $0.reason == reason }) {
                reasons[index].names.append(snapshot.name)
            } else {
                reasons.append((reason, [snapshot.name]))
            }
        }
        for (reason, names) in reasons {
            guard let first = names.first, let last = names.last else { continue }
            let range = names.count == 1 ? first.timeText : "\(first.timeText) .. \(last.timeText)"
            context.task.log("skipped: \(names.count) snapshot(s) (\(range)), \(reason)")
            context.statistics.add { $0.skipped += names.count }
        }
    }

    private func pull(_ snapshot: SnapshotName, isAgain: Bool, _ trusted: InUseSet) async throws {
        try await SnapshotPull(
            snapshot: snapshot, origin: origin, namespace: namespace, owner: context.request.owner,
            store: context.store, source: context.source, trusted: trusted, isSameStore: context.isSameStore,
            isAgain: isAgain, task: context.task, workers: context.workers, coders: context.coders,
            policy: context.policy, statistics: context.statistics
        ).run()
    }

    /// The chunks of the newest snapshot here, unless it was found to be damaged.
    private func trustedChunks(_ newest: SnapshotName?, _ local: [SnapshotDescription]) async throws -> InUseSet {
        let trusted = InUseSet()
        guard let newest, let description = local.first(where: { $0.entry.name == newest }),
            description.verification?.outcome != .failed, let manifest = description.manifest
        else { return trusted }
        let (store, namespace) = (context.store, namespace)
        try await context.workers.run {
            // What cannot be opened or read is trusted in nothing, and looked at chunk by chunk.
            guard let reader = try? store.openReader(newest, in: namespace, purpose: "a synchronisation") else {
                return
            }
            defer { reader.close() }
            for file in manifest.files where file.name.kind != .blob {
                try? reader.openIndex(file.name).forEach {
                    trusted.pin($0.digest, length: $0.length, origin: .previous)
                }
            }
        }
        return trusted
    }

    /// Removes finished snapshots that the source no longer has; protected ones stay.
    private func removeVanished(_ present: Set<SnapshotName>, _ local: [SnapshotDescription]) async throws {
        for entry in local.map(\.entry) where entry.isFinished && !present.contains(entry.name) {
            try context.task.checkAborted()
            let (store, namespace) = (context.store, namespace)
            guard try await !context.workers.run({ try store.isProtected(entry.name, in: namespace) }) else {
                context.task.log("don't delete vanished snapshot \(entry.name) (protected)")
                continue
            }
            do {
                try await context.workers.run { try store.removeSnapshot(entry.name, in: namespace) }
                context.task.log("delete vanished snapshot \(entry.name)")
                context.statistics.add { $0.removedSnapshots += 1 }
            } catch let failure as BackupFailure where failure.kind == .conflict {
                context.task.warn("vanished snapshot \(entry.name) was not removed: \(failure)")
            }
        }
    }
}
