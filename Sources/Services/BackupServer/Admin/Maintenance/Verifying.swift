package import AccessControl
package import BackupFormats
import Datastore
import Platform
import Tasks

/// What is to be verified.
package enum VerifyScope: Sendable {
    case snapshot(SnapshotName)
    case group(BackupGroup)
    /// A namespace, and those down to so many levels below it.
    case namespace(maxDepth: Int)
}

/// Which snapshots a verification leaves out.
package struct VerifyFilter: Sendable {
    /// Leave out what was verified before and found good.
    package var skipsVerified: Bool
    /// Days after which an earlier verification no longer counts; nil for never.
    package var outdatedAfter: Int64?

    package init(skipsVerified: Bool = true, outdatedAfter: Int64? = nil) {
        self.skipsVerified = skipsVerified
        self.outdatedAfter = outdatedAfter
    }

    func takes(_ snapshot: SnapshotDescription, now: Int64) -> Bool {
        guard skipsVerified, let task = snapshot.verification?.task else { return true }
        guard let days = outdatedAfter else { return false }
        guard let start = (try? UPID(parsing: task))?.startTime else { return true }
        return now - start > days.multipliedReportingOverflow(by: 86400).partialValue
    }
}

extension MaintenanceService {
    /// Starts a verification in the background. The task fails where a snapshot is damaged.
    ///
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where there is nothing of that name, `invalidInput` for a group
    ///   that the caller would have to own.
    package func startVerify(
        _ scope: VerifyScope, in place: ContentPlace, filter: VerifyFilter, by grant: ContentGrant
    ) async throws -> UPID {
        try await workers.run {
            let content = ContentService(stores: stores, access: access)
            switch scope {
            case .snapshot(let name):
                _ = try content.store(place, name.group, .write, grant).snapshot(name, in: place.namespace)
            case .group(let group): _ = try content.store(place, group, .write, grant)
            case .namespace: _ = try content.store(place, .write, grant)
            }
        }
        let (type, id) = Self.worker(scope, place)
        return tasks.run(type, id: id, owner: grant.authID) { task in
            try await workers.run { try verify(scope, place, filter, grant, task) }
        }
    }

    /// Worker type and id. The namespace stands there as its folders: `ns/a/ns/b`. (Spec: rest E.8.)
    private static func worker(_ scope: VerifyScope, _ place: ContentPlace) -> (type: String, id: String) {
        let folders = place.namespace.components.map { "ns/\($0)" }.joined(separator: "/")
        switch scope {
        case .snapshot(let name):
            let digits = String(name.time, radix: 16, uppercase: true)
            let time = String(repeating: "0", count: max(0, 8 - digits.count)) + digits
            return ("verify_snapshot", "\(place.store):\(folders)/\(name.group)/\(time)")
        case .group(let group): return ("verify_group", "\(place.store):\(folders)/\(group)")
        case .namespace: return ("verify", place.namespace.isRoot ? place.store : "\(place.store):\(place.namespace)")
        }
    }

    private func verify(
        _ scope: VerifyScope, _ place: ContentPlace, _ filter: VerifyFilter, _ grant: ContentGrant, _ task: RunningTask
    ) throws {
        let store = try stores.datastore(place.store, for: .write)
        let entries: [SnapshotEntry]
        switch scope {
        case .snapshot(let name): entries = [try store.snapshot(name, in: place.namespace)]
        case .group(let group): entries = try store.snapshots(in: place.namespace, group: group)
        case .namespace(let maxDepth):
            entries = try store.namespaces(below: place.namespace, maxDepth: maxDepth).flatMap { namespace in
                try visible(
                    store.snapshots(in: namespace), ContentPlace(store: place.store, namespace: namespace), grant)
            }
        }
        let finished = entries.filter(\.isFinished)
        let chosen = finished.map { SnapshotDescription($0, in: store) }.filter { filter.takes($0, now: time.seconds) }
        if chosen.count < finished.count { task.log("\(finished.count - chosen.count) snapshots were verified before") }
        let verifier = SnapshotVerifier(
            store, task: "\(task.upid)", isCancelled: { task.isAborted }, log: { task.log("  \($0)") })
        var failed: [String] = []
        for (index, snapshot) in chosen.enumerated() {
            try task.checkAborted()
            let name = snapshot.entry.name
            task.log("verify \(name)")
            if try !verify(name, snapshot.entry.namespace, verifier, store, task) { failed.append("\(name)") }
            task.setProgress(Double(index + 1) / Double(chosen.count))
        }
        guard failed.isEmpty else {
            for name in failed { task.log("failed: \(name)") }
            throw BackupFailure(
                .corruptData, "verification failed: \(failed.count) of \(chosen.count) snapshots are damaged")
        }
    }

    /// - Returns: Whether the snapshot is good. One that went away meanwhile, or that is in use, is passed over.
    private func verify(
        _ name: SnapshotName, _ namespace: Namespace, _ verifier: SnapshotVerifier, _ store: Datastore,
        _ task: RunningTask
    ) throws -> Bool {
        let reader: SnapshotReader
        do {
            reader = try store.openReader(name, in: namespace, purpose: "verification by task \(task.upid)")
        } catch let failure as BackupFailure where failure.kind == .noSuchObject || failure.kind == .conflict {
            task.warn("\(name) was not verified: \(failure)")
            return true
        }
        defer { reader.close() }
        return try verifier.verify(reader).isGood
    }

    /// Those of a namespace below that the caller may verify.
    private func visible(
        _ entries: [SnapshotEntry], _ place: ContentPlace, _ grant: ContentGrant
    ) throws -> [SnapshotEntry] {
        guard
            let grant = try? access.contentGrant(
                full: .datastoreVerify, partial: .datastoreBackup, store: place.store, namespace: place.namespace,
                to: grant.grant.identity)
        else { return [] }
        return entries.filter { ContentService.sees($0.owner, grant) }
    }
}
