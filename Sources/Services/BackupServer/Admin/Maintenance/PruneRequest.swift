package import BackupFormats

/// A prune of all groups of a namespace, and of those down to so many levels below it.
package struct PruneRequest: Sendable {
    package var store: String
    package var namespace: Namespace
    package var maxDepth: Int
    package var options: PruneOptions
    /// Only tell in the log what would be removed.
    package var isDryRun: Bool

    package init(
        store: String, namespace: Namespace = .root, maxDepth: Int = Namespace.maxDepth, options: PruneOptions,
        isDryRun: Bool = false
    ) {
        self.store = store
        self.namespace = namespace
        self.maxDepth = maxDepth
        self.options = options
        self.isDryRun = isDryRun
    }

    var operation: DatastoreRegistry.Operation { isDryRun ? .read : .write }
}

/// What a prune decided about one snapshot.
package struct PruneDecision: Sendable {
    package let name: SnapshotName
    package let mark: PruneMark
    package let reason: PruneReason
    package let isProtected: Bool
}
