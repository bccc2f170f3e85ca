import ArgumentParser
import BackupFormats
import BackupHTTP2

/// Limits on the connection.
struct RateOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Bytes a second at most, in each direction: a number with B, KB, KiB, MB, MiB, GB or GiB.",
            valueName: "rate"))
    var rate: String?

    @Option(
        help: ArgumentHelp(
            "Bytes that may pass at once before the rate counts. By default what one second allows.", valueName: "size")
    )
    var burst: String?

    func connectionOptions() throws -> ConnectionOptions {
        var options = ConnectionOptions()
        guard let rate else { return options }
        let limit = RateLimit(
            bytesPerSecond: try ByteSize.parse(rate, named: "--rate"),
            burstBytes: try burst.map { try ByteSize.parse($0, named: "--burst") })
        options.sendRate = limit
        options.receiveRate = limit
        return options
    }
}

/// Sizes with units, as people write and read them.
enum ByteSize {
    private static let units: [(name: String, bytes: Double)] = [
        ("TiB", 0x1p40), ("GiB", 0x1p30), ("MiB", 0x1p20), ("KiB", 0x1p10), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6),
        ("KB", 1e3), ("B", 1),
    ]

    /// A positive number with an optional unit, of any case.
    static func parse(_ text: String, named option: String) throws -> Int {
        let upper = text.uppercased()
        var digits = upper[...]
        var factor = 1.0
        if let unit = units.first(where: { upper.hasSuffix($0.name.uppercased()) }) {
            digits = upper.dropLast(unit.name.count)
            factor = unit.bytes
        }
        while digits.last == " " { digits.removeLast() }
        guard let number = Double(digits), number > 0, number * factor < 1e18 else {
            throw BackupFailure(
                .invalidInput, "'\(text)' is no size for \(option)", hints: ["Write for example 10MiB or 500KB."])
        }
        return max(1, Int(number * factor))
    }

    /// `1.234 GiB`, with three digits behind the point as the stock client shows it.
    static func text(_ bytes: some BinaryInteger) -> String {
        let value = Double(bytes)
        guard let unit = units.first(where: { $0.name.hasSuffix("iB") && value >= $0.bytes }) else {
            return "\(bytes) B"
        }
        let thousandths = Int((value / unit.bytes * 1000).rounded())
        var fraction = String(thousandths % 1000)
        fraction = String(repeating: "0", count: 3 - fraction.count) + fraction
        while fraction.last == "0" { fraction.removeLast() }
        return "\(thousandths / 1000)\(fraction.isEmpty ? "" : "." + fraction) \(unit.name)"
    }
}
