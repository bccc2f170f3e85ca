import BackupFormats

/// Which backups of one machine, mode and schedule are kept. (Spec: xo-proxy §4.9.)
package enum RetentionTable {
    /// A period of the long-term retention: backups of one bucket carry the same label.
    package enum Period: String, CaseIterable, Sendable { case daily, weekly, monthly, yearly }

    /// The backups to drop.
    ///
    /// The newest `count` are kept, and for each period the oldest backup of each of its newest buckets that hold any.
    ///
    /// - Parameters:
    ///   - timestamps: Unix milliseconds, strictly ascending.
    ///   - isBefore: Whether one more backup is about to come; it takes one of the places of `count`.
    /// - Returns: Indices into `timestamps`, ascending.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for times out of order, a retention below 1, an unknown period or
    ///   setting, a missing or unknown time zone.
    package static func dropped(_ timestamps: [Int64], by rule: RetentionRule, isBefore: Bool = false) throws -> [Int] {
        guard zip(timestamps, timestamps.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw BackupFailure(.invalidInput, "The backups to choose from are not in the order of time")
        }
        let count = max(0, isBefore ? rule.count - 1 : rule.count)
        var kept = Set(timestamps.indices.suffix(count))
        for bucketing in try Bucketing.all(of: rule) {
            var buckets: [String] = []
            var oldest: [String: Int] = [:]
            for index in timestamps.indices.reversed() {
                let label = bucketing.label(timestamps[index])
                if oldest[label] == nil {
                    guard buckets.count < bucketing.retention else { break }
                    buckets.append(label)
                }
                oldest[label] = index
            }
            kept.formUnion(oldest.values)
        }
        return timestamps.indices.filter { !kept.contains($0) }
    }

    /// The labels that a backup carries in its metadata's `tags`: `daily=2023-11-14`, …
    package static func labels(_ timestamp: Int64, by rule: RetentionRule) throws -> [String] {
        try Bucketing.all(of: rule).map { "\($0.period.rawValue)=\($0.label(timestamp))" }
    }

    /// Fails as ``dropped(_:by:isBefore:)`` would, before any work is done.
    package static func check(_ rule: RetentionRule) throws { _ = try Bucketing.all(of: rule) }
}

/// How one period sorts moments into buckets.
private struct Bucketing {
    let period: RetentionTable.Period
    let retention: Int
    private let zone: ZoneRules
    private let firstHour: Int64
    private let firstWeekday: Int64
    private let firstDay: Int64

    static func all(of rule: RetentionRule) throws -> [Bucketing] {
        guard !rule.longTerm.isEmpty else { return [] }
        for name in rule.longTerm.keys where RetentionTable.Period(rawValue: name) == nil {
            throw BackupFailure(.invalidInput, "The long-term retention '\(name)' is not known")
        }
        guard let zoneName = rule.timeZone else {
            throw BackupFailure(.invalidInput, "A long-term retention needs a time zone")
        }
        let zone = try ZoneRules(named: zoneName)
        return try RetentionTable.Period.allCases.compactMap { period in
            try rule.longTerm[period.rawValue].map { try Bucketing(period, $0, zone) }
        }
    }

    private init(_ period: RetentionTable.Period, _ value: RetentionRule.Period, _ zone: ZoneRules) throws {
        guard value.retention > 0 else {
            throw BackupFailure(.invalidInput, "The \(period.rawValue) retention is \(value.retention), not above 0")
        }
        self.period = period
        self.zone = zone
        retention = value.retention
        func setting(_ name: String, _ range: ClosedRange<Int64>, _ normal: Int64) throws -> Int64 {
            guard let json = value.settings[name], !json.isNull else { return normal }
            guard let number = json.intValue, range.contains(number) else {
                throw BackupFailure(
                    .invalidInput, "\(name) of the \(period.rawValue) retention is not within \(range)")
            }
            return number
        }
        firstHour = try setting("firstHourOfTheDay", 0...23, 0)
        firstWeekday = try setting("firstDayOfWeek", 0...7, 1) % 7
        switch period {
        case .monthly: firstDay = try setting("firstDayOfMonth", 1...31, 1)
        case .yearly: firstDay = try setting("firstDayOfYear", 1...366, 1)
        case .daily, .weekly: firstDay = 1
        }
    }

    func label(_ timestamp: Int64) -> String {
        let seconds = (timestamp - (timestamp % 1000 + 1000) % 1000) / 1000
        // The clock on the wall, shifted so that buckets begin at midnight of their first day.
        let wall = seconds + Int64(zone.offset(at: seconds)) - firstHour * 3600 - (firstDay - 1) * 86400
        switch period {
        case .daily: return String(BackupTime.text(wall).prefix(10))
        case .monthly: return String(BackupTime.text(wall).prefix(7))
        case .yearly: return String(BackupTime.text(wall).prefix(4))
        case .weekly:
            let day = (wall - (wall % 86400 + 86400) % 86400) / 86400
            // 1970-01-01 was a Thursday; Sunday is 0.
            let weekday = ((day + 4) % 7 + 7) % 7
            return String(BackupTime.text((day - (weekday - firstWeekday + 7) % 7) * 86400).prefix(10))
        }
    }
}
