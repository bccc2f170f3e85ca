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

    private typealias Need = SyncRights.Need

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
        case .configured(.sync, _):
            // One that cannot be carried out is for those who may change the datastore.
            guard let request = try? SyncRequest(properties: job.properties) else {
                return [(.datastoreModify, place(of: job))]
            }
            return SyncRights.needs(of: request, caller)
        }
    }
}
