package import AccessControl
import BackupFormats

/// What somebody must be allowed to do for a synchronisation, by hand or as a job. (Spec: rest E.5.)
package enum SyncRights {
    /// At least one of these privileges on a path.
    typealias Need = (anyOf: Privileges, path: AccessPath)

    /// - Throws: ``BackupFailure`` of kind `notAuthorized` naming the missing privilege.
    package static func require(for request: SyncRequest, _ caller: Identity, _ access: AccessControl) throws {
        for need in needs(of: request, caller.authID) {
            _ = try access.grant(anyOf: need.anyOf, on: need.path, to: caller)
        }
    }

    static func needs(of request: SyncRequest, _ caller: AuthID) -> [Need] {
        switch request.direction {
        case .pull: pull(request, caller)
        case .push: push(request)
        }
    }

    private static func pull(_ request: SyncRequest, _ caller: AuthID) -> [Need] {
        let target = AccessPath.datastore(request.store, request.namespace)
        var needs: [Need] = [(.datastoreBackup, target)]
        if request.removesVanished { needs.append((.datastorePrune, target)) }
        // What one may do for oneself and one's own tokens is a matter of ownership; for others it takes more.
        if !Ownership.accepts(owner: request.owner, caller: caller) { needs.append((.datastoreModify, target)) }
        if let remote = request.remote {
            needs.append((.remoteRead, .remote(remote, store: request.remoteStore)))
        } else {
            let source = AccessPath.datastore(request.remoteStore, request.remoteNamespace)
            needs.append(([.datastoreRead, .datastoreBackup], source))
        }
        return needs
    }

    private static func push(_ request: SyncRequest) -> [Need] {
        let target = AccessPath.remote(
            request.remote ?? "", store: request.remoteStore, request.remoteNamespace)
        var needs: [Need] = [
            ([.datastoreRead, .datastoreBackup], .datastore(request.store, request.namespace)),
            (.remoteDatastoreBackup, target),
        ]
        if request.removesVanished { needs += [(.remoteDatastorePrune, target), (.remoteDatastoreModify, target)] }
        return needs
    }
}

extension SyncRequest {
    /// The id of a task that does this: `remote:store:target`, with `-` for a local copy. (Spec: rest E.8.)
    package var workerID: String {
        let place = namespace.isRoot ? store : "\(store):\(namespace)"
        return "\(remote ?? "-"):\(remoteStore):\(place)"
    }
}
