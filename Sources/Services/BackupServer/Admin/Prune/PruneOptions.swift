/// How many snapshots of a group each rule of a prune keeps. (Spec: formats §9.11.)
package struct PruneOptions: Hashable, Sendable {
    package var last: Int64?
    package var hourly: Int64?
    package var daily: Int64?
    package var weekly: Int64?
    package var monthly: Int64?
    package var yearly: Int64?

    package init(
        last: Int64? = nil, hourly: Int64? = nil, daily: Int64? = nil, weekly: Int64? = nil, monthly: Int64? = nil,
        yearly: Int64? = nil
    ) {
        self.last = last
        self.hourly = hourly
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
        self.yearly = yearly
    }

    /// Without any rule nothing is removed.
    package var keepsEverything: Bool { rules.isEmpty }

    /// The rules that are set, in the order in which they choose.
    var rules: [(period: PrunePeriod, count: Int64)] {
        [
            (.snapshot, last), (.hour, hourly), (.day, daily), (.week, weekly), (.month, monthly), (.year, yearly),
        ].compactMap { period, count in count.flatMap { $0 > 0 ? (period, $0) : nil } }
    }
}

extension PruneOptions: CustomStringConvertible {
    /// As the options of the command: `--keep-last 3 --keep-daily 7`.
    package var description: String {
        [
            ("last", last), ("hourly", hourly), ("daily", daily), ("weekly", weekly), ("monthly", monthly),
            ("yearly", yearly),
        ].compactMap { name, count in count.map { "--keep-\(name) \($0)" } }.joined(separator: " ")
    }
}
