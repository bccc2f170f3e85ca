/// What a hub learns from a member's manifest: which operations it holds in vain, and which it lacks.
/// (Spec: backrest-sync §5.7.)
package struct ManifestComparison: Sendable, Equatable {
    /// Original ids that are stored but not listed any more, ascending.
    package let vanished: [Int64]
    /// Original ids that are missing, or have another change counter, in the order of the manifest. One that is listed
    /// twice is here once for each place whose counter is not the stored one.
    package let wanted: [Int64]

    /// - Parameters:
    ///   - ids: The manifest's, as sent: in any order, with duplicates.
    ///   - counters: As many.
    ///   - stored: Original ids with their change counters, ascending by id.
    package init(ids: [Int64], counters: [Int64], stored: [(id: Int64, counter: Int64)]) {
        precondition(ids.count == counters.count, "the session checks it")
        var isListed = [Bool](repeating: false, count: stored.count)
        var wanted: [Int64] = []
        // Members list their operations in ascending order, so the place is nearly always the one after the last.
        var next = 0
        for (id, counter) in zip(ids, counters) {
            if next >= stored.count || stored[next].id != id { next = Self.place(of: id, in: stored) }
            guard next < stored.count, stored[next].id == id else {
                wanted.append(id)
                continue
            }
            isListed[next] = true
            if stored[next].counter != counter { wanted.append(id) }
            next += 1
        }
        self.wanted = wanted
        vanished = stored.indices.lazy.filter { !isListed[$0] }.map { stored[$0].id }
    }

    /// The first place whose id is not below `id`.
    private static func place(of id: Int64, in stored: [(id: Int64, counter: Int64)]) -> Int {
        var low = 0
        var high = stored.count
        while low < high {
            let middle = (low + high) / 2
            if stored[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
