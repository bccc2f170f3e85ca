package import BackupFormats

/// How many groups and snapshots a store has.
package struct StoreCounts: Hashable, Sendable {
    package struct PerType: Hashable, Sendable {
        package var groups = 0
        /// Finished ones.
        package var snapshots = 0

        package init(groups: Int = 0, snapshots: Int = 0) {
            self.groups = groups
            self.snapshots = snapshots
        }
    }

    package var types: [BackupType: PerType] = [:]
}

extension Datastore {
    /// Counts over a namespace and all below it.
    package func counts(below parent: Namespace = .root) throws -> StoreCounts {
        var counts = StoreCounts()
        for namespace in try namespaces(below: parent) {
            for group in try groupNames(in: namespace) {
                let finished = try finishedSnapshots(of: group, in: namespace).count
                guard finished > 0 else { continue }
                counts.types[group.type, default: .init()].groups += 1
                counts.types[group.type, default: .init()].snapshots += finished
            }
        }
        return counts
    }
}
