package import BackupFormats

/// When a job is due: `[weekdays] [[years-]months-days] [hours:]minutes[:seconds] [UTC]`, or a word such as `daily`.
///
/// At least one part is there. A missing time is midnight, a missing date any day. A time of one number is minutes of any
/// hour. Times are local ones of the server unless `UTC` stands at the end. (Spec: rest H.1.)
package struct CalendarEvent: Hashable, Sendable {
    /// Longer text is refused.
    package static let maxLength = 256
    /// The last year in which something can be due.
    static let lastYear = 2199

    let weekdays: CalendarField
    let years: CalendarField
    let months: CalendarField
    let days: CalendarField
    let hours: CalendarField
    let minutes: CalendarField
    let seconds: CalendarField
    let isUTC: Bool
    private let text: String

    private enum Bounds {
        /// Monday is 0.
        static let weekdays = 0...6
        static let years = 0...lastYear
        static let months = 1...12
        static let days = 1...31
        static let hours = 0...23
        static let sixty = 0...59
    }

    /// - Throws: ``FormatError`` with the offset of the part that cannot be read.
    package init(parsing text: some StringProtocol) throws(FormatError) {
        guard text.utf8.count <= Self.maxLength else {
            throw .tooLong(UInt64(text.utf8.count), limit: Self.maxLength, offset: 0)
        }
        let text = String(text)
        self.text = text
        var parts = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
        func offset(_ part: Substring) -> Int { text.utf8.distance(from: text.startIndex, to: part.startIndex) }

        isUTC = parts.last == "UTC"
        if isUTC { parts.removeLast() }
        guard let first = parts.first else { throw .invalid("a calendar event needs a part", offset: 0) }

        let word = Self.word(parts.count == 1 ? first : "")
        var weekdays = word?.weekdays
        var years: CalendarField?
        var months = word?.months
        var days = word?.days
        var hours = word?.hours
        var minutes = word?.minutes
        var seconds: CalendarField?

        var rest = word == nil ? parts[...] : []
        if let part = rest.first, part.utf8.first.map(Self.isLetter) == true {
            weekdays = try Self.weekdays(part, offset: offset(part))
            rest.removeFirst()
        }
        if let part = rest.first, part.contains("-") {
            let fields = part.split(separator: "-", omittingEmptySubsequences: false)
            guard (2...3).contains(fields.count) else {
                throw .invalid("a date is months-days or years-months-days", offset: offset(part))
            }
            if fields.count == 3 {
                years = try CalendarField(
                    parsing: fields[0], name: "year", of: Bounds.years, offset: offset(fields[0]))
            }
            let (month, day) = (fields[fields.count - 2], fields[fields.count - 1])
            months = try CalendarField(parsing: month, name: "month", of: Bounds.months, offset: offset(month))
            days = try CalendarField(parsing: day, name: "day", of: Bounds.days, offset: offset(day))
            rest.removeFirst()
        }
        if let part = rest.first {
            let fields = part.split(separator: ":", omittingEmptySubsequences: false)
            guard (1...3).contains(fields.count) else {
                throw .invalid("a time is hours:minutes:seconds", offset: offset(part))
            }
            let minute = fields.count == 1 ? fields[0] : fields[1]
            hours =
                fields.count == 1
                ? CalendarField(anyOf: Bounds.hours)
                : try CalendarField(parsing: fields[0], name: "hour", of: Bounds.hours, offset: offset(fields[0]))
            minutes = try CalendarField(parsing: minute, name: "minute", of: Bounds.sixty, offset: offset(minute))
            if fields.count == 3 {
                seconds = try CalendarField(
                    parsing: fields[2], name: "second", of: Bounds.sixty, offset: offset(fields[2]))
            }
            rest.removeFirst()
        }
        if let part = rest.first { throw .invalid("'\(part)' does not belong here", offset: offset(part)) }

        self.weekdays = weekdays ?? CalendarField(anyOf: Bounds.weekdays)
        self.years = years ?? CalendarField(anyOf: Bounds.years)
        self.months = months ?? CalendarField(anyOf: Bounds.months)
        self.days = days ?? CalendarField(anyOf: Bounds.days)
        self.hours = hours ?? CalendarField(0, of: Bounds.hours)
        self.minutes = minutes ?? CalendarField(0, of: Bounds.sixty)
        self.seconds = seconds ?? CalendarField(0, of: Bounds.sixty)
    }

    /// What differs from midnight of any day for a word that stands for a whole event.
    private struct Word {
        var weekdays: CalendarField?
        var months: CalendarField?
        var days: CalendarField?
        var hours: CalendarField?
        var minutes: CalendarField?
    }

    private static func word(_ text: Substring) -> Word? {
        let first = CalendarField(1, of: Bounds.days)
        func months(_ values: [Int]) -> Word { Word(months: CalendarField(values, of: Bounds.months), days: first) }
        switch text {
        case "minutely":
            return Word(hours: CalendarField(anyOf: Bounds.hours), minutes: CalendarField(anyOf: Bounds.sixty))
        case "hourly": return Word(hours: CalendarField(anyOf: Bounds.hours))
        case "daily": return Word()
        case "weekly": return Word(weekdays: CalendarField(0, of: Bounds.weekdays))
        case "monthly": return Word(days: first)
        case "quarterly": return months([1, 4, 7, 10])
        case "semiannually", "semi-annually": return months([1, 7])
        case "yearly", "annually": return months([1])
        default: return nil
        }
    }

    private static let weekdayNames = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

    private static func weekdays(_ text: Substring, offset: Int) throws(FormatError) -> CalendarField {
        func weekday(_ name: Substring) throws(FormatError) -> Int {
            let name = name.lowercased()
            guard let day = weekdayNames.firstIndex(where: { $0 == name || $0.prefix(3) == name }) else {
                throw .invalid("'\(name)' is no weekday", offset: offset)
            }
            return day
        }
        var all: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let dots = part.firstRange(of: "..") else {
                all.insert(try weekday(part))
                continue
            }
            let start = try weekday(part[..<dots.lowerBound])
            let end = try weekday(part[dots.upperBound...])
            // A range may go over the end of the week.
            all.formUnion((start...(end < start ? end + 7 : end)).map { $0 % 7 })
        }
        return CalendarField(all, of: Bounds.weekdays)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}

extension CalendarEvent: CustomStringConvertible {
    /// The text it was read from.
    package var description: String { text }
}
