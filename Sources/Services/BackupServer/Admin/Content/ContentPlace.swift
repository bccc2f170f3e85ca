package import AccessControl
package import BackupFormats

/// A namespace in a datastore.
package struct ContentPlace: Hashable, Sendable {
    package let store: String
    package let namespace: Namespace

    package init(store: String, namespace: Namespace = .root) {
        self.store = store
        self.namespace = namespace
    }

    package var accessPath: AccessPath { .datastore(store, namespace) }
}

extension ContentPlace: CustomStringConvertible {
    /// `store1`, or `store1:a/b` for a namespace.
    package var description: String { namespace.isRoot ? store : "\(store):\(namespace)" }
}

extension ContentGrant {
    /// Makes sure that the grant is for this place.
    func require(_ place: ContentPlace) throws {
        guard grant.path == place.accessPath else {
            throw BackupFailure(.internalFault, "a grant for \(grant.path) was used for \(place.accessPath)")
        }
    }
}
