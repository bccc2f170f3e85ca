/// A stretch of local time of which a rule keeps one snapshot.
package enum PrunePeriod: Hashable, Sendable, CaseIterable {
    case snapshot, hour, day, week, month, year

    /// The name of its rule, as in the API.
    var rule: String {
        switch self {
        case .snapshot: "keep-last"
        case .hour: "keep-hourly"
        case .day: "keep-daily"
        case .week: "keep-weekly"
        case .month: "keep-monthly"
        case .year: "keep-yearly"
        }
    }

    var noun: String { "\(self)" }

    /// A number that is the same for all times in one period, and different for different ones.
    ///
    /// - Parameter offset: Seconds that local time is ahead of UTC at `time`.
    func id(of time: Int64, offset: Int) -> Int64 {
        if self == .snapshot { return time }
        let local = time + Int64(offset)
        let day = Self.floorDivide(local, 86400)
        switch self {
        case .snapshot: return time
        case .hour: return Self.floorDivide(local, 3600)
        case .day: return day
        // 1970-01-01 was a Thursday, and ISO weeks begin on Mondays.
        case .week: return Self.floorDivide(day + 3, 7)
        case .month:
            let (year, month) = Self.yearAndMonth(ofDay: day)
            return year * 12 + month
        case .year: return Self.yearAndMonth(ofDay: day).year
        }
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    /// Gregorian year, and month from 0, of a day counted from 1970-01-01. Years are counted from March, so that the leap
    /// day is the last of its year.
    private static func yearAndMonth(ofDay day: Int64) -> (year: Int64, month: Int64) {
        let shifted = day + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let fromMarch = (5 * dayOfYear + 2) / 153
        let month = fromMarch < 10 ? fromMarch + 2 : fromMarch - 10
        return (yearOfEra + era * 400 + (month <= 1 ? 1 : 0), month)
    }
}
