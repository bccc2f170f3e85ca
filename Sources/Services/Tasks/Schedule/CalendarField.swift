import BackupFormats

/// The values that one field of a calendar event takes.
struct CalendarField: Hashable, Sendable {
    /// Ascending and without repetition; nil for any value.
    private let values: [Int]?
    private let bounds: ClosedRange<Int>

    /// Any value.
    init(anyOf bounds: ClosedRange<Int>) {
        self.bounds = bounds
        values = nil
    }

    init(_ value: Int, of bounds: ClosedRange<Int>) {
        self.bounds = bounds
        values = [value]
    }

    init(_ values: some Sequence<Int>, of bounds: ClosedRange<Int>) {
        self.bounds = bounds
        self.values = Set(values).sorted()
    }

    /// Reads `*`, `*/step`, or a list of `value`, `a..b`, `a/step` and `a..b/step`.
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` at the start of the part that breaks the form.
    init(parsing text: Substring, name: String, of bounds: ClosedRange<Int>, offset: Int) throws(FormatError) {
        self.bounds = bounds
        guard text != "*" else {
            values = nil
            return
        }
        var all: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            all.formUnion(try Self.values(of: part, name, bounds, offset))
        }
        values = all.sorted()
    }

    private static func values(
        of part: Substring, _ name: String, _ bounds: ClosedRange<Int>, _ offset: Int
    ) throws(FormatError) -> StrideThrough<Int> {
        func number(_ text: Substring, _ range: ClosedRange<Int>) throws(FormatError) -> Int {
            guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let value = Int(text), range.contains(value)
            else {
                throw .invalid(
                    "'\(text)' is no \(name) from \(range.lowerBound) to \(range.upperBound)", offset: offset)
            }
            return value
        }
        let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let step = halves.count == 2 ? try number(halves[1], 1...bounds.upperBound) : nil
        let range = halves[0]
        if range == "*" {
            guard let step else { throw .invalid("'*' stands alone or has a step", offset: offset) }
            return stride(from: bounds.lowerBound, through: bounds.upperBound, by: step)
        }
        guard let dots = range.firstRange(of: "..") else {
            let start = try number(range, bounds)
            return stride(from: start, through: step == nil ? start : bounds.upperBound, by: step ?? 1)
        }
        let start = try number(range[..<dots.lowerBound], bounds)
        let end = try number(range[dots.upperBound...], bounds)
        guard start <= end else { throw .invalid("the range '\(range)' ends before it begins", offset: offset) }
        return stride(from: start, through: end, by: step ?? 1)
    }

    var isAny: Bool { values == nil }

    func contains(_ value: Int) -> Bool { values?.contains(value) ?? bounds.contains(value) }

    /// The least value that is not below `value`.
    func next(from value: Int) -> Int? {
        guard let values else { return value <= bounds.upperBound ? max(value, bounds.lowerBound) : nil }
        return values.first { $0 >= value }
    }

    var first: Int { values?.first ?? bounds.lowerBound }
}
