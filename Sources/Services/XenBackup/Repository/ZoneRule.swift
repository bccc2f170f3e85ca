import BackupFormats

/// A zone's rule for all years to come, as the zone database writes it: `CET-1CEST,M3.5.0,M10.5.0/3`. (POSIX, `TZ`.)
struct ZoneRule: Sendable {
    private let standard: Int
    /// Offset in summer, and when it begins and ends.
    private let summer: (offset: Int, begin: Day, end: Day)?

    /// A day of the year and a time of that day, in seconds.
    private struct Day {
        enum Kind {
            case weekday(month: Int, week: Int, day: Int)
            /// 1 to 365; 29 February is never counted.
            case julian(Int)
            /// 0 to 365.
            case ordinal(Int)
        }

        let kind: Kind
        let seconds: Int
    }

    init?(_ text: String) {
        var scan = Scan(rest: Substring(text))
        guard scan.name(), let west = scan.time() else { return nil }
        standard = -west
        guard scan.name() else {
            summer = nil
            return
        }
        let ahead = scan.time().map { -$0 } ?? standard + 3600
        guard let begin = scan.day(), let end = scan.day() else { return nil }
        summer = (ahead, begin, end)
    }

    func offset(at time: Int64) -> Int {
        guard let summer else { return standard }
        let year = Int(BackupTime.text(time + Int64(standard)).prefix(4)) ?? 1970
        guard let begin = Self.moment(summer.begin, year: year), let end = Self.moment(summer.end, year: year) else {
            return standard
        }
        let start = begin - Int64(standard)
        let stop = end - Int64(summer.offset)
        // In the south summer spans the turn of the year.
        let isSummer = start < stop ? time >= start && time < stop : time >= start || time < stop
        return isSummer ? summer.offset : standard
    }

    /// Local seconds since 1970, as if local time were UTC.
    private static func moment(_ day: Day, year: Int) -> Int64? {
        func days(_ month: Int, _ year: Int) -> Int64? {
            let digits = { (value: Int, width: Int) in
                String(repeating: "0", count: max(0, width - String(value).count)) + String(value)
            }
            return BackupTime.parse("\(digits(year, 4))-\(digits(month, 2))-01T00:00:00Z").map { $0 / 86400 }
        }
        guard let newYear = days(1, year) else { return nil }
        let date: Int64
        switch day.kind {
        case .ordinal(let number): date = newYear + Int64(number)
        case .julian(let number):
            guard let march = days(3, year) else { return nil }
            let isLeap = march - newYear == 60
            date = newYear + Int64(number - 1) + (isLeap && number >= 60 ? 1 : 0)
        case .weekday(let month, let week, let weekday):
            guard let first = days(month, year), let next = month == 12 ? days(1, year + 1) : days(month + 1, year)
            else { return nil }
            // 1970-01-01 was a Thursday.
            let lead = (Int64(weekday) - (first + 4) % 7 + 7) % 7
            var candidate = first + lead + Int64(week - 1) * 7
            while candidate >= next { candidate -= 7 }
            date = candidate
        }
        return date * 86400 + Int64(day.seconds)
    }

    private struct Scan {
        var rest: Substring

        mutating func name() -> Bool {
            if rest.first == "<" {
                guard let end = rest.firstIndex(of: ">") else { return false }
                rest = rest[rest.index(after: end)...]
                return true
            }
            let letters = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(letters.count)
            return letters.count >= 3
        }

        mutating func take(_ letter: Character) -> Bool {
            guard rest.first == letter else { return false }
            rest.removeFirst()
            return true
        }

        mutating func number() -> Int? {
            let digits = rest.prefix { $0.isNumber }
            rest = rest.dropFirst(digits.count)
            return digits.count <= 4 ? Int(digits) : nil
        }

        /// `[+-]hh[:mm[:ss]]` in seconds.
        mutating func time() -> Int? {
            let isNegative = take("-")
            if !isNegative { _ = take("+") }
            guard let hours = number() else { return nil }
            var seconds = hours * 3600
            if take(":") {
                guard let minutes = number() else { return nil }
                seconds += minutes * 60
                if take(":") {
                    guard let rest = number() else { return nil }
                    seconds += rest
                }
            }
            return isNegative ? -seconds : seconds
        }

        mutating func day() -> Day? {
            guard take(",") else { return nil }
            let kind: Day.Kind
            if take("M") {
                guard let month = number(), take("."), let week = number(), take("."), let day = number(),
                    (1...12).contains(month), (1...5).contains(week), (0...6).contains(day)
                else { return nil }
                kind = .weekday(month: month, week: week, day: day)
            } else if take("J") {
                guard let number = number(), (1...365).contains(number) else { return nil }
                kind = .julian(number)
            } else {
                guard let number = number(), (0...365).contains(number) else { return nil }
                kind = .ordinal(number)
            }
            guard take("/") else { return Day(kind: kind, seconds: 7200) }
            return time().map { Day(kind: kind, seconds: $0) }
        }
    }
}
