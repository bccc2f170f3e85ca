import BackupFormats

extension ByteReader {
    /// Reads one big-endian integer, the order of VHD.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    mutating func readBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(
        _: Value.Type = Value.self
    ) throws(FormatError) -> Value {
        let value: Value = try read()
        return value.byteSwapped
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ value: some FixedWidthInteger & BitwiseCopyable) {
        appendLittleEndian(value.byteSwapped)
    }

    mutating func appendZeros(_ count: Int) {
        append(contentsOf: [UInt8](repeating: 0, count: count))
    }
}
