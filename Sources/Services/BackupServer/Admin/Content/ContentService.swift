package import AccessControl
package import BackupFormats
package import Datastore

/// Reads and changes the content of datastores for callers who may. All calls block. (Spec: rest E.4, D.11.)
package struct ContentService: Sendable {
    let stores: DatastoreRegistry
    let access: AccessControl

    package init(stores: DatastoreRegistry, access: AccessControl) {
        self.stores = stores
        self.access = access
    }

    /// The datastore of a place, once the grant was found to be for it and the namespace to exist.
    func store(
        _ place: ContentPlace, _ operation: DatastoreRegistry.Operation, _ grant: ContentGrant
    ) throws -> Datastore {
        try grant.require(place)
        let store = try stores.datastore(place.store, for: operation)
        guard try store.namespaceExists(place.namespace) else {
            throw BackupFailure(.noSuchObject, "namespace '\(place)' does not exist")
        }
        return store
    }

    /// The same, and the caller may have the group.
    func store(
        _ place: ContentPlace, _ group: BackupGroup, _ operation: DatastoreRegistry.Operation, _ grant: ContentGrant
    ) throws -> Datastore {
        let store = try store(place, operation, grant)
        if grant.requiresOwner {
            try grant.checkOwner(try store.owner(of: group, in: place.namespace), of: "group \(group) of \(place)")
        }
        return store
    }
}

// Groups.
extension ContentService {
    /// The groups of one namespace that the caller may see, in the order of listings.
    package func groups(in place: ContentPlace, by grant: ContentGrant) throws -> [GroupEntry] {
        try store(place, .read, grant).groups(in: place.namespace).filter { Self.sees($0.owner, grant) }
    }

    /// - Returns: What went and what stayed.
    /// - Throws: ``BackupFailure`` of kind `conflict` where protected snapshots stay and `failsOnProtected`; the others are
    ///   gone then.
    package func removeGroup(
        _ group: BackupGroup, in place: ContentPlace, failsOnProtected: Bool, by grant: ContentGrant
    ) throws -> RemovalCounts {
        let counts = try store(place, group, .write, grant).removeGroup(group, in: place.namespace)
        guard counts.protectedSnapshots == 0 || !failsOnProtected else {
            throw BackupFailure(
                .conflict,
                "group \(group) was only partially deleted: \(counts.protectedSnapshots) snapshots are protected")
        }
        return counts
    }

    package func groupNotes(_ group: BackupGroup, in place: ContentPlace, by grant: ContentGrant) throws -> String {
        try store(place, group, .read, grant).groupNotes(of: group, in: place.namespace)
    }

    package func setGroupNotes(
        _ notes: String, of group: BackupGroup, in place: ContentPlace, by grant: ContentGrant
    ) throws {
        try store(place, group, .write, grant).setGroupNotes(notes, of: group, in: place.namespace)
    }

    /// Hands a group on. With Datastore.Modify to anybody; with Datastore.Backup only between a user and its tokens.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthorized` without either privilege, `notAuthenticated` for hand-overs that
    ///   need Datastore.Modify (the original answers 401), `invalidInput` where the new owner is nobody.
    package func changeOwner(
        of group: BackupGroup, in place: ContentPlace, to owner: AuthID, by caller: Identity
    ) throws {
        let grant = try access.contentGrant(
            full: .datastoreModify, partial: .datastoreBackup, store: place.store, namespace: place.namespace,
            to: caller)
        let store = try store(place, .write, grant)
        if grant.requiresOwner {
            let old = try store.owner(of: group, in: place.namespace)
            guard Ownership.mayHandOn(from: old, to: owner, caller: caller.authID) else {
                throw BackupFailure(
                    .notAuthenticated,
                    "\(caller.authID) does not have permission to change owner of backup group '\(group)' to \(owner)")
            }
        }
        guard access.isActive(owner) else {
            throw BackupFailure(.invalidInput, "'\(owner)' is inactive or does not exist")
        }
        try store.setOwner(owner, of: group, in: place.namespace)
    }

    static func sees(_ owner: AuthID?, _ grant: ContentGrant) -> Bool {
        !grant.requiresOwner || owner.map { grant.covers(owner: $0) } ?? false
    }
}

// Namespaces.
extension ContentService {
    /// The namespaces from `start` down that the caller has a right on or below, `start` among them.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthorized` without any right there.
    package func namespaces(from start: ContentPlace, maxDepth: Int, by caller: Identity) throws -> [Namespace] {
        guard sees(start, caller) else {
            throw BackupFailure(.notAuthorized, "permission check failed")
        }
        let store = try stores.datastore(start.store, for: .read)
        guard try store.namespaceExists(start.namespace) else {
            throw BackupFailure(.noSuchObject, "namespace '\(start)' does not exist")
        }
        return try store.namespaces(below: start.namespace, maxDepth: maxDepth).filter {
            sees(ContentPlace(store: start.store, namespace: $0), caller)
        }
    }

    /// Makes a namespace below one that exists; does nothing where it exists already.
    package func createNamespace(_ name: String, in parent: ContentPlace, by caller: Identity) throws -> Namespace {
        _ = try access.grant(.datastoreModify, on: parent.accessPath, to: caller)
        let namespace: Namespace
        do {
            namespace = try parent.namespace.appending(name)
        } catch {
            throw BackupFailure(.invalidInput, "\(error)")
        }
        let store = try stores.datastore(parent.store, for: .write)
        _ = try store.createNamespace(namespace)
        return namespace
    }

    /// Removes a namespace with the empty ones below it; one that does not exist is no error.
    package func removeNamespace(
        _ place: ContentPlace, includingGroups: Bool, failsOnProtected: Bool, by caller: Identity
    ) throws -> RemovalCounts {
        guard let parent = place.namespace.parent else {
            throw BackupFailure(.invalidInput, "the root namespace cannot be removed")
        }
        _ = try access.grant(.datastoreModify, on: .datastore(place.store, parent), to: caller)
        let store = try stores.datastore(place.store, for: .write)
        let counts = try store.removeNamespace(place.namespace, includingGroups: includingGroups)
        guard counts.protectedSnapshots == 0 || !failsOnProtected else {
            throw BackupFailure(
                .conflict,
                "namespace '\(place)' was only partially deleted: \(counts.protectedSnapshots) snapshots are protected")
        }
        return counts
    }

    private func sees(_ place: ContentPlace, _ caller: Identity) -> Bool {
        access.hasAny(.namespaceVisibility, onOrBelow: place.accessPath, of: caller.authID)
    }
}
