import BackupFormats

extension CalendarEvent {
    /// More steps than any event needs that ever comes.
    private static let maxSteps = 10_000
    private static let day: Int64 = 86400
    /// Offsets are looked at so often when a change of the clock is searched.
    private static let week: Int64 = 7 * day
    /// No clock is set back by more.
    private static let longestRepetition: Int64 = 3 * 3600

    /// The first time after `time` at which the event is due, in Unix seconds; nil where none comes.
    ///
    /// A time that the clock leaps over in spring counts as the time it would have been without the leap. What the clock
    /// shows twice in autumn counts once, unless the event is due in every hour.
    ///
    /// - Parameter localOffset: Seconds that local time is ahead of UTC at a time.
    package func next(after time: Int64, offset localOffset: (Int64) -> Int) -> Int64? {
        func offset(_ time: Int64) -> Int64 { isUTC ? 0 : Int64(localOffset(time)) }
        var from = time + 1
        var candidate: Int64?
        for _ in 0..<Self.maxSteps {
            let ahead = offset(from)
            guard let local = firstMatch(from: from + ahead) else { return candidate }
            let match = local - ahead
            if let candidate, candidate <= match { return candidate }
            guard let change = Self.firstChange(after: from, through: match, ahead, offset) else {
                guard hours.isAny || !Self.isShownAgain(match, ahead, offset) else {
                    from = match + 1
                    continue
                }
                return match
            }
            // What the leap takes away is due all the same, unless something else comes before.
            if local < change + offset(change) { candidate = match }
            from = change
        }
        return candidate
    }

    /// The first time in `start < t ≤ end` at which local time is not `ahead` of UTC by as much.
    private static func firstChange(
        after start: Int64, through end: Int64, _ ahead: Int64, _ offset: (Int64) -> Int64
    ) -> Int64? {
        var before = start
        while before < end {
            let probe = min(end, before + week)
            guard offset(probe) != ahead else {
                before = probe
                continue
            }
            var after = probe
            while after - before > 1 {
                let middle = before + (after - before) / 2
                if offset(middle) == ahead { before = middle } else { after = middle }
            }
            return after
        }
        return nil
    }

    /// Whether the local time of `time` was there before, because the clock was set back in between.
    private static func isShownAgain(_ time: Int64, _ ahead: Int64, _ offset: (Int64) -> Int64) -> Bool {
        let earlier = offset(time - longestRepetition)
        let first = time + ahead - earlier
        return earlier > ahead && offset(first) == earlier
    }

    /// The first local time from `local` on that matches, both in seconds since 1970-01-01 00:00 local time.
    private func firstMatch(from local: Int64) -> Int64? {
        var number = Int((Double(local) / Double(Self.day)).rounded(.down))
        var earliest = Int(local - Int64(number) * Self.day)
        for _ in 0..<Self.maxSteps {
            let date = CalendarDate(dayNumber: number)
            guard date.year <= Self.lastYear else { return nil }
            let next: CalendarDate
            if !years.contains(date.year) {
                guard let year = years.next(from: date.year + 1) else { return nil }
                next = CalendarDate(year: year, month: 1, day: 1)
            } else if !months.contains(date.month) {
                next =
                    months.next(from: date.month + 1).map { CalendarDate(year: date.year, month: $0, day: 1) }
                    ?? CalendarDate(year: date.year + 1, month: 1, day: 1)
            } else if days.contains(date.day), weekdays.contains(date.weekday),
                let second = firstSecond(from: earliest)
            {
                return Int64(number) * Self.day + Int64(second)
            } else {
                number += 1
                earliest = 0
                continue
            }
            number = next.dayNumber
            earliest = 0
        }
        return nil
    }

    /// The first matching second of a day that is not before `second`.
    private func firstSecond(from second: Int) -> Int? {
        guard let hour = hours.next(from: second / 3600) else { return nil }
        let minute = hour == second / 3600 ? second / 60 % 60 : 0
        if let match = firstSecond(of: hour, fromMinute: minute, hour == second / 3600 ? second % 60 : 0) {
            return match
        }
        return hours.next(from: hour + 1).map { $0 * 3600 + minutes.first * 60 + seconds.first }
    }

    private func firstSecond(of hour: Int, fromMinute minute: Int, _ second: Int) -> Int? {
        guard let match = minutes.next(from: minute) else { return nil }
        if let last = seconds.next(from: match == minute ? second : 0) { return hour * 3600 + match * 60 + last }
        return minutes.next(from: match + 1).map { hour * 3600 + $0 * 60 + seconds.first }
    }
}

/// A day of the Gregorian calendar.
private struct CalendarDate {
    let year: Int
    let month: Int
    let day: Int

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// - Parameter dayNumber: Days since 1970-01-01.
    init(dayNumber: Int) {
        // Years are counted from March, so that the leap day is the last of its year.
        let shifted = dayNumber + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let fromMarch = (5 * dayOfYear + 2) / 153
        month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        day = dayOfYear - (153 * fromMarch + 2) / 5 + 1
    }

    var dayNumber: Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// Monday is 0; 1970-01-01 was a Thursday.
    var weekday: Int { ((dayNumber + 3) % 7 + 7) % 7 }
}
