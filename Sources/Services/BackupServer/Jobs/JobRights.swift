package import AccessControl
package import BackupFormats

/// Who may see, change and run a job. (Spec: rest D.9, E.5.)
package enum JobRights {
    package static func maySee(_ job: Job, _ caller: AuthID, _ access: AccessControl) -> Bool {
        holdsAll(sight(of: job), caller, access)
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthorized`.
    package static func requireSight(of job: Job, _ caller: Identity, _ access: AccessControl) throws {
        for need in sight(of: job) { _ = try access.grant(anyOf: need.anyOf, on: need.path, to: caller) }
    }

    package static func mayChange(_ job: Job, _ caller: AuthID, _ access: AccessControl) -> Bool {
        holdsAll(change(of: job, caller), caller, access)
    }

    /// Also for running it.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthorized`.
    package static func requireChange(of job: Job, _ caller: Identity, _ access: AccessControl) throws {
        for need in change(of: job, caller.authID) {
            _ = try access.grant(anyOf: need.anyOf, on: need.path, to: caller)
        }
    }

    private typealias Need = (anyOf: Privileges, path: AccessPath)

    private static func holdsAll(_ needs: [Need], _ caller: AuthID, _ access: AccessControl) -> Bool {
        needs.allSatisfy { !access.privileges(of: caller, on: $0.path).isDisjoint(with: $0.anyOf) }
    }

    private static func place(of job: Job) -> AccessPath { .datastore(job.store, job.namespace) }

    private static func sight(of job: Job) -> [Need] {
        let local: Need = (.datastoreAudit, place(of: job))
        guard case .configured(.sync, _) = job.id, let remote = job.text("remote") else { return [local] }
        return [local, (.remoteAudit, .remote(remote))]
    }

    private static func change(of job: Job, _ caller: AuthID) -> [Need] {
        switch job.id {
        case .garbageCollection, .storePrune, .configured(.prune, _): return [(.datastoreModify, place(of: job))]
        case .configured(.verify, _): return [(.datastoreVerify, place(of: job))]
        case .configured(.sync, _): return job.text("sync-direction") == "push" ? push(job) : pull(job, caller)
        }
    }

    private static func pull(_ job: Job, _ caller: AuthID) -> [Need] {
        var needs: [Need] = [(.datastoreBackup, place(of: job))]
        if removesVanished(job) { needs.append((.datastorePrune, place(of: job))) }
        // Without an owner in the configuration the groups belong to root.
        let owner = job.text("owner").flatMap { AuthID(parsing: $0) } ?? .root
        let isOwn = owner == caller || owner.isToken && owner.user == caller && !caller.isToken
        if !isOwn { needs.append((.datastoreModify, place(of: job))) }
        let source = job.text("remote-store") ?? ""
        if let remote = job.text("remote") {
            needs.append((.remoteRead, .remote(remote, store: source)))
        } else {
            needs.append((.datastoreBackup, .datastore(source, namespace(job, "remote-ns"))))
        }
        return needs
    }

    private static func push(_ job: Job) -> [Need] {
        guard let remote = job.text("remote") else { return [(.datastoreModify, place(of: job))] }
        let target = AccessPath.remote(remote, store: job.text("remote-store") ?? "", namespace(job, "remote-ns"))
        var needs: [Need] = [
            ([.datastoreRead, .datastoreBackup], place(of: job)), (.remoteDatastoreBackup, target),
        ]
        if removesVanished(job) { needs.append(([.remoteDatastorePrune, .remoteDatastoreModify], target)) }
        return needs
    }

    private static func removesVanished(_ job: Job) -> Bool { job.properties["remove-vanished"]?.boolValue ?? false }

    private static func namespace(_ job: Job, _ name: String) -> Namespace {
        (try? Namespace(parsing: job.text(name) ?? "")) ?? .root
    }
}
