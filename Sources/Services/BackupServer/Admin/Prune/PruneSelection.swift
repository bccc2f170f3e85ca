/// A snapshot as a prune looks at it.
package struct PruneCandidate: Hashable, Sendable {
    package var time: Int64
    /// Whether it has a manifest and no session is writing it.
    package var isFinished: Bool
    package var isProtected: Bool
    /// Whether a session is writing it: such a one is always kept. (Decision 1.)
    package var isRunning: Bool

    package init(time: Int64, isFinished: Bool = true, isProtected: Bool = false, isRunning: Bool = false) {
        self.time = time
        self.isFinished = isFinished
        self.isProtected = isProtected
        self.isRunning = isRunning
    }
}

/// What a prune does with a snapshot.
package enum PruneMark: Hashable, Sendable {
    case keep
    /// Unfinished, and newer than all finished ones: it may still become one.
    case keepPartial
    case protected
    case remove

    package var isKept: Bool { self != .remove }
}

/// Chooses the snapshots of one group that a prune removes: a pure function. (Spec: formats §9.11.)
package enum PruneSelection {
    /// - Parameters:
    ///   - candidates: In any order.
    ///   - offset: Seconds that the server's local time is ahead of UTC at a time; periods are those of local time.
    /// - Returns: Each candidate with its mark, oldest first.
    package static func marks(
        _ candidates: [PruneCandidate], options: PruneOptions, offset: (Int64) -> Int
    ) -> [(candidate: PruneCandidate, mark: PruneMark)] {
        let newestFirst = candidates.sorted { $0.time > $1.time }
        var marks = [PruneMark?](repeating: nil, count: newestFirst.count)
        if options.keepsEverything {
            marks = newestFirst.map { $0.isProtected ? .protected : .keep }
        } else {
            markUnfinished(newestFirst, &marks)
            for (period, count) in options.rules {
                apply(period, count, newestFirst, &marks, offset)
            }
        }
        return zip(newestFirst, marks).reversed().map { candidate, mark in
            (candidate, candidate.isProtected ? .protected : mark ?? .remove)
        }
    }

    /// Of the unfinished ones only the newest stays, if nothing finished is newer.
    private static func markUnfinished(_ newestFirst: [PruneCandidate], _ marks: inout [PruneMark?]) {
        var isArmed = true
        for (index, candidate) in newestFirst.enumerated() {
            if !candidate.isFinished { marks[index] = isArmed || candidate.isRunning ? .keepPartial : .remove }
            isArmed = false
        }
    }

    private static func apply(
        _ period: PrunePeriod, _ count: Int64, _ newestFirst: [PruneCandidate], _ marks: inout [PruneMark?],
        _ offset: (Int64) -> Int
    ) {
        func id(_ candidate: PruneCandidate) -> Int64 { period.id(of: candidate.time, offset: offset(candidate.time)) }
        let covered = Set(zip(newestFirst, marks).filter { $0.1 == .keep }.map { id($0.0) })
        var chosen: Set<Int64> = []
        for (index, candidate) in newestFirst.enumerated() where marks[index] == nil {
            if candidate.isProtected {
                marks[index] = .protected
                continue
            }
            let id = id(candidate)
            if covered.contains(id) { continue }
            if chosen.contains(id) {
                marks[index] = .remove
                continue
            }
            if chosen.count >= count { break }
            chosen.insert(id)
            marks[index] = .keep
        }
    }
}
