/// Numbers in the words of the log.
enum CollectionText {
    private static let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]

    /// `10.458 KiB`: up to three digits behind the point.
    static func bytes(_ count: Int64) -> String {
        var value = Double(max(0, count))
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(decimal(value, digits: 3)) \(units[unit])"
    }

    /// Without zeros at the end.
    static func decimal(_ value: Double, digits: Int) -> String {
        var text = Decimals.text(value, digits)
        guard text.contains(".") else { return text }
        while text.hasSuffix("0") { text.removeLast() }
        return text.hasSuffix(".") ? String(text.dropLast()) : text
    }

    static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    /// `in 1.25 s (800000 files/s)`.
    static func rate(_ count: Int64, _ things: String, in duration: Duration) -> String {
        let seconds = max(seconds(duration), 1e-6)
        return "in \(decimal(seconds, digits: 2)) s (\(Int64(Double(count) / seconds)) \(things)/s)"
    }
}

extension CollectionStatus {
    /// What the log says at the end.
    var summary: [String] {
        var lines = [
            "Removed garbage: \(CollectionText.bytes(removedByteCount))", "Removed chunks: \(removedChunkCount)",
        ]
        if removedBadCount > 0 { lines.append("Removed bad chunks: \(removedBadCount)") }
        if stillBadCount > 0 { lines.append("Leftover bad chunks: \(stillBadCount)") }
        lines.append("Original data usage: \(CollectionText.bytes(indexDataByteCount))")
        if indexDataByteCount > 0 {
            let percent = Double(diskByteCount) * 100 / Double(indexDataByteCount)
            lines.append(
                "On-Disk usage: \(CollectionText.bytes(diskByteCount)) (\(CollectionText.decimal(percent, digits: 2))%)"
            )
        }
        lines.append("On-Disk chunks: \(diskChunkCount)")
        if diskByteCount > 0 {
            let factor = Double(indexDataByteCount) / Double(diskByteCount)
            lines.append("Deduplication factor: \(CollectionText.decimal(factor, digits: 2))")
        }
        if diskChunkCount > 0 {
            lines.append("Average chunk size: \(CollectionText.bytes(diskByteCount / diskChunkCount))")
        }
        return lines
    }
}
