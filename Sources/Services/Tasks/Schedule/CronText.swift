extension CalendarEvent {
    /// The same times in the five fields of cron: minute, hour, day of the month, month, day of the week.
    ///
    /// - Returns: Nil where cron cannot say it: seconds, years, or weekdays and days at once, of which cron takes either.
    package var cron: String? {
        guard years.isAny, !seconds.isAny, seconds.first == 0, seconds.next(from: 1) == nil,
            weekdays.isAny || days.isAny
        else { return nil }
        // Monday is 1 there.
        let fields = [
            minutes.list(from: 0), hours.list(from: 0), days.list(from: 0), months.list(from: 0),
            weekdays.list(from: 1, limit: 7),
        ]
        return fields.joined(separator: " ")
    }

    /// Whether its times are not the server's local ones.
    package var isInUTC: Bool { isUTC }
}

extension CalendarField {
    fileprivate func list(from first: Int, limit: Int = .max) -> String {
        if isAny { return "*" }
        var values: [Int] = []
        var value = self.first
        while true {
            values.append((value + first) % limit)
            guard let next = next(from: value + 1) else { break }
            value = next
        }
        return values.sorted().map(String.init).joined(separator: ",")
    }
}
