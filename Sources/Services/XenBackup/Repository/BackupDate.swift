import BackupFormats

/// The name that a moment gives to files: `YYYYMMDDTHHmmssZ`, UTC. (Spec: xo-proxy §4.5.)
package enum BackupDate {
    /// - Parameter milliseconds: Since 1970; the part below a second is dropped.
    package static func text(_ milliseconds: Int64) -> String {
        let seconds = (milliseconds - (milliseconds % 1000 + 1000) % 1000) / 1000
        return BackupTime.text(seconds).filter { $0 != "-" && $0 != ":" }
    }

    /// Milliseconds of a text of exactly that form, or nil.
    package static func parse(_ text: some StringProtocol) -> Int64? {
        let letters = Array(text.utf8)
        guard letters.count == 16 else { return nil }
        func part(_ range: Range<Int>) -> String { String(decoding: letters[range], as: UTF8.self) }
        return BackupTime.parse(
            "\(part(0..<4))-\(part(4..<6))-\(part(6..<11)):\(part(11..<13)):\(part(13..<16))"
        ).map { $0 * 1000 }
    }
}
