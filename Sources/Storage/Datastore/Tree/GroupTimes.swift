package import BackupFormats

/// When a group was backed up, by the names of its snapshots alone.
package struct GroupTimes: Hashable, Sendable {
    package let namespace: Namespace
    package let group: BackupGroup
    /// Times of the newest finished snapshots, newest first.
    package let newest: [Int64]
    /// Snapshots that have a folder.
    package let snapshotCount: Int
}

extension Datastore {
    /// The times of all groups of a namespace; much cheaper than listing them. Groups without a finished snapshot are left
    /// out.
    ///
    /// - Parameter limit: Times that are wanted of each group.
    package func groupTimes(in namespace: Namespace, limit: Int) throws -> [GroupTimes] {
        try groupNames(in: namespace).compactMap { group in
            let names = try snapshotNames(of: group, in: namespace)
            var newest: [Int64] = []
            for name in names.reversed() {
                guard newest.count < limit else { break }
                if try isFinished(name, in: namespace) { newest.append(name.time) }
            }
            guard !newest.isEmpty else { return nil }
            return GroupTimes(namespace: namespace, group: group, newest: newest, snapshotCount: names.count)
        }
    }
}
