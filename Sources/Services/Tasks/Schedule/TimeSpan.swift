package import BackupFormats

/// A length of time as text: a sum of `number unit`, `2d 12h`; a number without unit is seconds. (Spec: rest H.2.)
package enum TimeSpan {
    /// Longer text is refused.
    package static let maxLength = 256

    private static let units: [(names: [String], seconds: Double)] = [
        (["ns", "nsec"], 1e-9), (["us", "µs", "μs", "usec"], 1e-6), (["ms", "msec"], 1e-3),
        (["", "s", "sec", "second", "seconds"], 1), (["m", "min", "minute", "minutes"], 60),
        (["h", "hr", "hour", "hours"], 3600), (["d", "day", "days"], 86400), (["w", "week", "weeks"], 7 * 86400),
        (["M", "month", "months"], 30.44 * 86400), (["y", "year", "years"], 365.25 * 86400),
    ]

    /// The length in seconds.
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` where something is no number or no unit.
    package static func seconds(parsing text: some StringProtocol) throws(FormatError) -> Double {
        guard text.utf8.count <= maxLength else {
            throw .tooLong(UInt64(text.utf8.count), limit: maxLength, offset: 0)
        }
        let text = String(text)
        var rest = text[...]
        func offset() -> Int { text.utf8.distance(from: text.startIndex, to: rest.startIndex) }
        func skipBlanks() { rest = rest.drop { $0 == " " || $0 == "\t" } }
        var sum = 0.0
        skipBlanks()
        guard !rest.isEmpty else { throw .invalid("a length of time is empty", offset: 0) }
        while !rest.isEmpty {
            let start = offset()
            let digits = rest.prefix { $0 == "." || $0.isASCII && $0.isNumber }
            guard let number = Double(digits), number.isFinite else {
                throw .invalid("a number is expected in a length of time", offset: start)
            }
            rest = rest[digits.endIndex...]
            skipBlanks()
            let name = rest.prefix { $0.isLetter }
            guard let unit = units.first(where: { $0.names.contains(String(name)) }) else {
                throw .invalid("'\(name)' is no unit of time", offset: offset())
            }
            guard !name.isEmpty || rest.isEmpty else {
                throw .invalid("only the last number may lack its unit", offset: offset())
            }
            sum += number * unit.seconds
            rest = rest[name.endIndex...]
            skipBlanks()
        }
        return sum
    }
}
