import BackupFormats

/// A text of `key=value` pairs joined by commas; values with commas stand in double quotes, and the first pair may lack its
/// key. (Spec: rest H.3.)
struct PropertyText {
    private(set) var pairs: [(key: String, value: String)] = []

    /// - Parameter firstKey: The key of a first value that stands alone.
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    init(_ text: String, firstKey: String) throws {
        for (index, part) in Self.split(text).enumerated() {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if halves.count == 2 {
                pairs.append((String(halves[0]), Self.unquoted(halves[1])))
            } else if index == 0, !part.isEmpty {
                pairs.append((firstKey, Self.unquoted(part[...])))
            } else {
                throw BackupFailure(.invalidInput, "'\(part)' in '\(text)' has no value")
            }
        }
    }

    subscript(_ key: String) -> String? { pairs.first { $0.key == key }?.value }

    private static func split(_ text: String) -> [String] {
        var parts = [""]
        var isQuoted = false
        for character in text {
            if character == "\"" { isQuoted.toggle() }
            if character == ",", !isQuoted {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts
    }

    private static func unquoted(_ text: Substring) -> String { text.filter { $0 != "\"" } }
}
