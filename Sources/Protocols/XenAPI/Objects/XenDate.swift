import BackupFormats

/// Dates of hosts and of marks: `20231114T22:13:20Z`. (Spec: xo-proxy §5.7, §6.1.)
package enum XenDate {
    /// `YYYYMMDDTHH:mm:ssZ` of Unix milliseconds.
    package static func text(_ milliseconds: Int64) -> String {
        String(BackupTime.text(seconds(milliseconds)).filter { $0 != "-" })
    }

    /// `YYYYMMDDTHHmmssZ` of Unix milliseconds, as file names have it.
    package static func fileName(_ milliseconds: Int64) -> String {
        String(BackupTime.text(seconds(milliseconds)).filter { $0 != "-" && $0 != ":" })
    }

    /// Unix milliseconds of a date with or without dashes and colons, with a fraction, and with `Z`, an offset (`+02:00`,
    /// `+0200`, `+02`) or neither, which is UTC. Nil for anything else.
    package static func parse(_ text: some StringProtocol) -> Int64? {
        let text = Substring(text)
        guard let split = text.firstIndex(of: "T") else { return nil }
        let date = digits(text[..<split], dropping: "-", count: 8)
        var rest = text[text.index(after: split)...]
        var offset = 0
        if rest.last == "Z" {
            rest = rest.dropLast()
        } else if let sign = rest.firstIndex(where: { $0 == "+" || $0 == "-" }) {
            let zone = String(rest[rest.index(after: sign)...]).filter { $0 != ":" }
            guard zone.utf8.count == 2 || zone.utf8.count == 4, let hours = Int(zone.prefix(2)),
                let minutes = zone.utf8.count == 4 ? Int(zone.suffix(2)) : 0, hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * (rest[sign] == "-" ? -60 : 60)
            rest = rest[..<sign]
        }
        var fraction: Int64 = 0
        if let dot = rest.firstIndex(of: ".") {
            let digits = rest[rest.index(after: dot)...].prefix(3)
            guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int64(digits)
            else { return nil }
            fraction = value * [100, 10, 1][digits.utf8.count - 1]
            rest = rest[..<dot]
        }
        guard let date, let time = digits(rest, dropping: ":", count: 6),
            let seconds = BackupTime.parse(
                "\(date.prefix(4))-\(date.dropFirst(4).prefix(2))-\(date.suffix(2))T"
                    + "\(time.prefix(2)):\(time.dropFirst(2).prefix(2)):\(time.suffix(2))Z")
        else { return nil }
        return (seconds - Int64(offset)) * 1000 + fraction
    }

    private static func seconds(_ milliseconds: Int64) -> Int64 {
        (milliseconds - (milliseconds % 1000 + 1000) % 1000) / 1000
    }

    private static func digits(_ text: some StringProtocol, dropping separator: Character, count: Int) -> String? {
        let digits = String(text.filter { $0 != separator })
        guard digits.utf8.count == count, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return digits
    }
}
