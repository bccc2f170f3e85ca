import BackupFormats

/// Lines of a task's log: a time of fixed width, `: `, the text. (Spec: rest E.8.)
enum TaskLogLine {
    /// Longer text is cut, with a mark.
    static let maxTextLength = 8192

    /// `2024-06-01T00:00:00+00:00: text` and a line end for each line of the text.
    static func encode(_ text: String, at seconds: Int64) -> [UInt8] {
        let time = BackupTime.text(seconds).dropLast() + "+00:00: "
        var bytes: [UInt8] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            bytes += Array(time.utf8)
            bytes += Array(clean(line).utf8)
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    /// One line without control characters.
    static func clean(_ text: some StringProtocol) -> String {
        var scalars = String.UnicodeScalarView()
        var length = 0
        for scalar in text.unicodeScalars {
            length += 1
            if length > maxTextLength {
                scalars.append(contentsOf: " [cut]".unicodeScalars)
                break
            }
            scalars.append(scalar.value < 0x20 || scalar.value == 0x7f ? " " : scalar)
        }
        return String(scalars)
    }
}
