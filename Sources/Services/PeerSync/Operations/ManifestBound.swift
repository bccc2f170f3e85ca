/// Which of its operations a member lists: no more than the hub keeps, since a hub of the original's make fails on an
/// operation that it once had and has removed. (Spec: backrest-sync §5.7.)
package struct ManifestBound: Sendable {
    /// What the bound needs to know of an operation.
    package struct Entry: Sendable {
        package enum Kind: Sendable, Hashable { case stats, check, prune, forget, other }

        package let id: Int64
        package let flow: Int64
        package let repo: String
        package let plan: String
        package let instance: String
        package let kind: Kind
        /// Unix seconds.
        package let time: Int64
        /// Of an operation that tells of a snapshot: whether it is gone. Nil for others.
        package let isForgotten: Bool?

        package init(
            id: Int64, flow: Int64, repo: String, plan: String, instance: String, kind: Kind, time: Int64,
            isForgotten: Bool? = nil
        ) {
            self.id = id
            self.flow = flow
            self.repo = repo
            self.plan = plan
            self.instance = instance
            self.kind = kind
            self.time = time
            self.isForgotten = isForgotten
        }
    }

    private struct Series: Hashable {
        let repo: String
        let plan: String
        let instance: String
        let kind: Entry.Kind
    }

    /// Newest so many, and so many days.
    private static func limits(of kind: Entry.Kind) -> (count: Int, days: Int64) {
        switch kind {
        case .stats: (100, 365)
        case .check, .prune: (12, 365)
        case .forget: (30, 30)
        case .other: (100, 30)
        }
    }

    /// Ids to list, ascending.
    ///
    /// - Parameter now: Unix seconds.
    package static func listed(_ entries: [Entry], now: Int64) -> [Int64] {
        var live: Set<Int64> = []
        var gone: Set<Int64> = []
        for entry in entries {
            guard let isForgotten = entry.isForgotten else { continue }
            if isForgotten { gone.insert(entry.flow) } else { live.insert(entry.flow) }
        }
        var counts: [Series: Int] = [:]
        var ids: [Int64] = []
        for entry in entries.sorted(by: { ($0.time, $0.id) > ($1.time, $1.id) }) {
            if live.contains(entry.flow) {
                ids.append(entry.id)
                continue
            }
            guard !gone.contains(entry.flow) else { continue }
            let (count, days) = limits(of: entry.kind)
            let series = Series(repo: entry.repo, plan: entry.plan, instance: entry.instance, kind: entry.kind)
            let place = counts[series, default: 0]
            counts[series] = place + 1
            if place < count, entry.time >= now - days * 86_400 { ids.append(entry.id) }
        }
        return ids.sorted()
    }
}
