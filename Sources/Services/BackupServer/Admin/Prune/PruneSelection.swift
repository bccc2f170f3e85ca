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

/// A snapshot with what a prune does with it, and why.
package struct PruneVerdict: Hashable, Sendable {
    package let candidate: PruneCandidate
    package let mark: PruneMark
    package let reason: PruneReason
}

/// Chooses the snapshots of one group that a prune removes: a pure function. (Spec: formats §9.11.)
package enum PruneSelection {
    /// - Parameters:
    ///   - candidates: In any order.
    ///   - offset: Seconds that the server's local time is ahead of UTC at a time; periods are those of local time.
    /// - Returns: A verdict on each candidate, oldest first.
    package static func verdicts(
        _ candidates: [PruneCandidate], options: PruneOptions, offset: (Int64) -> Int
    ) -> [PruneVerdict] {
        let newestFirst = candidates.sorted { $0.time > $1.time }
        var marks = [Mark?](repeating: nil, count: newestFirst.count)
        if options.keepsEverything {
            marks = newestFirst.map { _ in Mark(.keep, .noRules) }
        } else {
            markUnfinished(newestFirst, &marks)
            for (period, count) in options.rules {
                apply(period, count, newestFirst, &marks, offset)
            }
        }
        return zip(newestFirst, marks).reversed().map { candidate, mark in
            let mark = candidate.isProtected ? Mark(.protected, .protected) : mark ?? Mark(.remove, .noRuleLeft)
            return PruneVerdict(candidate: candidate, mark: mark.mark, reason: mark.reason)
        }
    }

    private struct Mark {
        let mark: PruneMark
        let reason: PruneReason

        init(_ mark: PruneMark, _ reason: PruneReason) {
            self.mark = mark
            self.reason = reason
        }
    }

    /// Of the unfinished ones only the newest stays, if nothing finished is newer.
    private static func markUnfinished(_ newestFirst: [PruneCandidate], _ marks: inout [Mark?]) {
        var isArmed = true
        for (index, candidate) in newestFirst.enumerated() {
            if candidate.isRunning {
                marks[index] = Mark(.keepPartial, .running)
            } else if !candidate.isFinished {
                marks[index] = isArmed ? Mark(.keepPartial, .newestUnfinished) : Mark(.remove, .unfinished)
            }
            isArmed = false
        }
    }

    private static func apply(
        _ period: PrunePeriod, _ count: Int64, _ newestFirst: [PruneCandidate], _ marks: inout [Mark?],
        _ offset: (Int64) -> Int
    ) {
        func id(_ candidate: PruneCandidate) -> Int64 { period.id(of: candidate.time, offset: offset(candidate.time)) }
        let covered = Set(zip(newestFirst, marks).filter { $0.1?.mark == .keep }.map { id($0.0) })
        var chosen: Set<Int64> = []
        for (index, candidate) in newestFirst.enumerated() where marks[index] == nil {
            if candidate.isProtected {
                marks[index] = Mark(.protected, .protected)
                continue
            }
            let id = id(candidate)
            if covered.contains(id) { continue }
            if chosen.contains(id) {
                marks[index] = Mark(.remove, .newerInPeriod(period))
                continue
            }
            if chosen.count >= count { break }
            chosen.insert(id)
            marks[index] = Mark(.keep, .rule(period, number: Int64(chosen.count), of: count))
        }
    }
}
