/// What values one parameter takes. (Spec: protocol A.3, A.6; rest F.1, F.5.)
package indirect enum ParameterType: Sendable {
    case string(StringRule)
    case integer(ClosedRange<Int64>)
    /// In text: 1, on, yes, true and 0, off, no, false, whatever the case of the letters.
    case boolean
    case number
    /// In text: the key repeated.
    case array(of: ParameterType)
    /// Only in JSON bodies; handed through as it came.
    case json

    /// Any text.
    package static let text = ParameterType.string(StringRule())
    /// A number from 0.
    package static let count = ParameterType.integer(0...Int64.max)

    /// Text of limited length in characters.
    package static func text(_ lengths: ClosedRange<Int>) -> ParameterType {
        .string(StringRule(lengths: lengths))
    }

    /// One of some words.
    package static func oneOf(_ words: [String]) -> ParameterType {
        .string(StringRule(words: words))
    }

    /// Text of limited length in characters for which `matches` holds.
    package static func pattern(
        _ lengths: ClosedRange<Int> = 0...Int.max, _ matches: @escaping @Sendable (String) -> Bool
    ) -> ParameterType {
        .string(StringRule(lengths: lengths, matches: matches))
    }
}

/// What texts a string parameter takes.
package struct StringRule: Sendable {
    /// Length in characters (Unicode scalars).
    package var lengths: ClosedRange<Int>
    /// The only allowed texts, where there is such a list.
    package var words: [String]?
    package var matches: (@Sendable (String) -> Bool)?

    package init(
        lengths: ClosedRange<Int> = 0...Int.max, words: [String]? = nil, matches: (@Sendable (String) -> Bool)? = nil
    ) {
        self.lengths = lengths
        self.words = words
        self.matches = matches
    }

    /// Why `text` is refused, or nil.
    func objection(to text: String) -> String? {
        let length = text.unicodeScalars.count
        if length < lengths.lowerBound { return "value must be at least \(lengths.lowerBound) characters long" }
        if length > lengths.upperBound { return "value may only be \(lengths.upperBound) characters long" }
        if let words, !words.contains(text) { return "value '\(text.prefix(64))' is not defined in the enumeration." }
        if let matches, !matches(text) { return "value does not match the regex pattern" }
        return nil
    }
}
