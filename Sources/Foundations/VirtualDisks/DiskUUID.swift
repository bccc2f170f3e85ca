import BackupFormats

/// The identity of a disk: 16 bytes, in the order in which its text shows them.
package struct DiskUUID: Hashable, Sendable {
    package static let byteCount = 16
    /// What stands where there is no disk.
    package static let zero = DiskUUID(high: 0, low: 0)

    private let high: UInt64
    private let low: UInt64

    private init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    init(from reader: inout ByteReader) throws(FormatError) {
        high = try reader.readBigEndian()
        low = try reader.readBigEndian()
    }

    /// From text such as `01234567-89ab-cdef-0123-456789abcdef`, in either case; nil for anything else.
    package init?(parsing text: some StringProtocol) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [8, 4, 4, 4, 12],
            let bytes = Hex.decode(parts.joined(), allowUppercase: true)
        else { return nil }
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(high)
        bytes.appendBigEndian(low)
        return bytes
    }
}

extension DiskUUID: CustomStringConvertible {
    /// Lowercase, with hyphens.
    package var description: String {
        let digits = Hex.encode(bytes)
        var text = ""
        for (position, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(position) { text.append("-") }
            text.append(digit)
        }
        return text
    }
}
