import BackupFormats

/// When a plan of a Backrest is due: minute, hour, day of the month, month and day of the week, or a word such as
/// `@daily`. (Spec: backrest-sync §2.4, `Schedule.cron`.)
package struct CronSchedule: Hashable, Sendable {
    private static let maxBytes = 256
    /// Longer than any date is away that ever comes: the 29th of February, over a year without one.
    private static let maxDays: Int64 = 9 * 366
    private static let words = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]
    private static let monthNames = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// Bit n: the value n is one of the field's.
    private let minutes: UInt64
    private let hours: UInt64
    private let days: UInt64
    private let months: UInt64
    /// Sunday is 0.
    private let weekdays: UInt64
    /// Where both are restricted, a day that either names is meant.
    private let isAnyDay: Bool
    private let isAnyWeekday: Bool

    /// Nil where the text is none, or more than five fields say.
    package init?(parsing text: String) {
        guard text.utf8.count <= Self.maxBytes else { return nil }
        let trimmed = text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let fields = (Self.words[trimmed] ?? trimmed).split(separator: " ")
        guard fields.count == 5,
            let minutes = Self.field(fields[0], 0...59), let hours = Self.field(fields[1], 0...23),
            let days = Self.field(fields[2], 1...31),
            let months = Self.field(fields[3], 1...12, Self.monthNames, first: 1),
            let weekdays = Self.field(fields[4], 0...7, Self.dayNames, first: 0)
        else { return nil }
        self.minutes = minutes
        self.hours = hours
        self.days = days
        self.months = months
        self.weekdays = weekdays | weekdays >> 7 & 1
        isAnyDay = fields[2].first == "*" || fields[2] == "?"
        isAnyWeekday = fields[4].first == "*" || fields[4] == "?"
    }

    /// Reads a list of `*`, `a`, `a-b`, each with or without `/step`.
    private static func field(
        _ text: Substring, _ bounds: ClosedRange<Int>, _ names: [String] = [], first: Int = 0
    ) -> UInt64? {
        func value(_ text: Substring) -> Int? {
            names.firstIndex(of: String(text)).map { $0 + first }
                ?? Int(text).flatMap { bounds.contains($0) ? $0 : nil }
        }
        var bits: UInt64 = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let range = halves.first else { return nil }
            var step = 1
            if halves.count == 2 {
                guard let number = Int(halves[1]), (1...bounds.upperBound + 1).contains(number) else { return nil }
                step = number
            }
            var low = bounds.lowerBound
            var high = bounds.upperBound
            if range != "*" && range != "?" {
                let ends = range.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
                guard let from = ends.first.flatMap(value) else { return nil }
                low = from
                if ends.count == 2 {
                    guard let to = value(ends[1]), to >= from else { return nil }
                    high = to
                } else if halves.count == 1 {
                    high = from
                }
            }
            for number in stride(from: low, through: high, by: step) { bits |= 1 << number }
        }
        return bits
    }

    /// The first time after `time`, Unix seconds; nil where none comes.
    ///
    /// - Parameter offset: Seconds that local time is ahead of UTC at a time. A time that the clock leaps over comes by as
    ///   much later.
    package func next(after time: Int64, offset: (Int64) -> Int) -> Int64? {
        let ahead = Int64(offset(time))
        // Whole minutes of local time.
        let (start, overflows) = time.addingReportingOverflow(ahead + 60)
        guard !overflows, start > 0, start < 253_402_300_800 else { return nil }
        let from = start - start % 60
        var day = from / 86_400
        var second = from % 86_400
        for _ in 0..<Self.maxDays {
            if isDue(day: day), let found = firstSecond(from: second) {
                let local = day * 86_400 + found
                return max(time + 1, local - Int64(offset(local - ahead)))
            }
            day += 1
            second = 0
        }
        return nil
    }

    private func firstSecond(from second: Int64) -> Int64? {
        for minute in second / 60..<1440 where hours >> (minute / 60) & 1 == 1 && minutes >> (minute % 60) & 1 == 1 {
            return minute * 60
        }
        return nil
    }

    /// - Parameter day: Days since 1970-01-01, a Thursday.
    private func isDue(day: Int64) -> Bool {
        let (month, dayOfMonth) = Self.date(day)
        guard months >> month & 1 == 1 else { return false }
        let isDay = days >> dayOfMonth & 1 == 1
        let isWeekday = weekdays >> ((day + 4) % 7) & 1 == 1
        return isAnyDay || isAnyWeekday ? isDay && isWeekday : isDay || isWeekday
    }

    /// Month and day of the Gregorian calendar.
    private static func date(_ day: Int64) -> (month: Int64, day: Int64) {
        // Years that begin in March have their leap day at the end.
        let shifted = day + 719_468
        let dayOfEra = shifted % 146_097
        let year = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        return (month < 10 ? month + 3 : month - 9, dayOfYear - (153 * month + 2) / 5 + 1)
    }
}
