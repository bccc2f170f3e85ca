package import AccessControl
import BackupFormats

/// What somebody must be allowed to do for a synchronisation. (Spec: rest E.5.)
package struct SyncRights: Sendable {
    private let access: AccessControl
    private let caller: Identity

    package init(access: AccessControl, caller: Identity) {
        self.access = access
        self.caller = caller
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthorized` naming the missing privilege.
    package func check(_ request: SyncRequest) throws {
        switch request.direction {
        case .pull: try checkPull(request)
        case .push: try checkPush(request)
        }
    }

    private func checkPull(_ request: SyncRequest) throws {
        let target = AccessPath.datastore(request.store, request.namespace)
        _ = try access.grant(.datastoreBackup, on: target, to: caller)
        if request.removesVanished { _ = try access.grant(.datastorePrune, on: target, to: caller) }
        // What one may do for oneself and one's own tokens is a matter of ownership; for others it takes more.
        if !Ownership.accepts(owner: request.owner, caller: caller.authID) {
            _ = try access.grant(.datastoreModify, on: target, to: caller)
        }
        if let remote = request.remote {
            _ = try access.grant(.remoteRead, on: .remote(remote, store: request.remoteStore), to: caller)
        } else {
            _ = try access.grant(
                anyOf: [.datastoreRead, .datastoreBackup],
                on: .datastore(request.remoteStore, request.remoteNamespace), to: caller)
        }
    }

    private func checkPush(_ request: SyncRequest) throws {
        guard let remote = request.remote else { return }
        _ = try access.grant(
            anyOf: [.datastoreRead, .datastoreBackup], on: .datastore(request.store, request.namespace), to: caller)
        let target = AccessPath.remote(remote, store: request.remoteStore, request.remoteNamespace)
        _ = try access.grant(.remoteDatastoreBackup, on: target, to: caller)
        if request.removesVanished {
            _ = try access.grant([.remoteDatastorePrune, .remoteDatastoreModify], on: target, to: caller)
        }
    }
}

extension SyncRequest {
    /// The id of a task that does this: `remote:store:target` or `target` for a local copy. (Spec: rest E.8.)
    package var workerID: String {
        let place = namespace.isRoot ? store : "\(store):\(namespace)"
        return remote.map { "\($0):\(remoteStore):\(place)" } ?? "-:\(remoteStore):\(place)"
    }
}
