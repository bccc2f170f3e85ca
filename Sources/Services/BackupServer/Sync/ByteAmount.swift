/// Numbers of bytes as people write and read them: `10 MiB`, `500KB`, `1000`.
package enum ByteAmount {
    private static let units: [(name: String, bytes: Double)] = [
        ("TIB", 0x1p40), ("GIB", 0x1p30), ("MIB", 0x1p20), ("KIB", 0x1p10), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6),
        ("KB", 1e3), ("B", 1),
    ]

    /// A positive number with an optional unit of any case; nil for anything else.
    package static func parse(_ text: String) -> Int? {
        let upper = text.uppercased().filter { $0 != " " }
        let unit = units.first { upper.hasSuffix($0.name) }
        guard let number = Double(upper.dropLast(unit?.name.count ?? 0)), number > 0 else { return nil }
        let bytes = number * (unit?.bytes ?? 1)
        return bytes < 1e18 ? max(1, Int(bytes)) : nil
    }

    /// `1.25 GiB`, with at most three digits behind the point.
    package static func text(_ bytes: some BinaryInteger) -> String {
        let value = Double(bytes)
        guard let index = units.prefix(4).firstIndex(where: { value >= $0.bytes }) else { return "\(bytes) B" }
        let thousandths = Int((value / units[index].bytes * 1000).rounded())
        var fraction = String(thousandths % 1000)
        fraction = String(repeating: "0", count: 3 - fraction.count) + fraction
        while fraction.last == "0" { fraction.removeLast() }
        let name = ["TiB", "GiB", "MiB", "KiB"][index]
        return "\(thousandths / 1000)\(fraction.isEmpty ? "" : "." + fraction) \(name)"
    }
}
