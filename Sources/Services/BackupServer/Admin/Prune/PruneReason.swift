/// Why a prune keeps or removes a snapshot.
package enum PruneReason: Hashable, Sendable {
    /// No rule was given, so everything stays.
    case noRules
    /// The newest snapshot of a period; `number` counts those that the rule has chosen, from the newest.
    case rule(PrunePeriod, number: Int64, of: Int64)
    case protected
    /// A session is writing it.
    case running
    /// Unfinished, and nothing newer exists.
    case newestUnfinished
    /// Unfinished, and something newer exists.
    case unfinished
    /// A rule keeps a newer snapshot of the same period.
    case newerInPeriod(PrunePeriod)
    /// Every rule has kept as many as it should, or an earlier rule covers the period.
    case noRuleLeft
}

extension PruneReason: CustomStringConvertible {
    /// For logs and listings: `keep-daily, 3 of 7`.
    package var description: String {
        switch self {
        case .noRules: "no rules are set"
        case .rule(let period, let number, let count): "\(period.rule), \(number) of \(count)"
        case .protected: "protected"
        case .running: "being written"
        case .newestUnfinished: "unfinished, and nothing is newer"
        case .unfinished: "unfinished, and there is a newer one"
        case .newerInPeriod(let period): "\(period.rule) keeps a newer one of the same \(period.noun)"
        case .noRuleLeft: "no rule keeps it"
        }
    }
}
