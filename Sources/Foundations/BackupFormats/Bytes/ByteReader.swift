/// Reads little-endian values from the front of a byte span, checked.
package struct ByteReader: ~Escapable {
    private let bytes: RawSpan
    /// Bytes consumed so far; errors report it.
    package private(set) var offset = 0

    @_lifetime(copy bytes)
    package init(_ bytes: RawSpan) {
        self.bytes = bytes
    }

    @_lifetime(copy bytes)
    package init(_ bytes: Span<UInt8>) {
        self.bytes = bytes.bytes
    }

    /// Bytes that are still to be read.
    package var remaining: Int { bytes.byteCount - offset }

    /// Reads one little-endian integer.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    package mutating func read<Value: FixedWidthInteger & BitwiseCopyable>(
        _: Value.Type = Value.self
    ) throws(FormatError) -> Value {
        let start = try skip(MemoryLayout<Value>.size)
        // Safe: skip(_:) has checked that these bytes exist.
        return Value(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: start, as: Value.self))
    }

    /// Copies `count` bytes out. Compare a count that comes from the input with
    /// a limit before; this call checks only that the bytes are there.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    package mutating func readBytes(_ count: Int) throws(FormatError) -> [UInt8] {
        let start = try skip(count)
        return bytes.extracting(start..<start + count).withUnsafeBytes { [UInt8]($0) }
    }

    /// Moves past `count` bytes and returns the offset of the first of them.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)``.
    @discardableResult
    package mutating func skip(_ count: Int) throws(FormatError) -> Int {
        guard count >= 0, count <= remaining else {
            throw .truncated(offset: offset, needed: count, available: remaining)
        }
        defer { offset += count }
        return offset
    }

    /// Reads a 64-bit length field that announces at most `limit` bytes.
    ///
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above the limit.
    package mutating func readLength(limit: Int) throws(FormatError) -> Int {
        let start = offset
        let length: UInt64 = try read()
        guard length <= limit else {
            throw .tooLong(length, limit: limit, offset: start)
        }
        return Int(length)
    }
}

extension [UInt8] {
    /// Appends an integer in little-endian order, the order of every format here.
    package mutating func appendLittleEndian(_ value: some FixedWidthInteger & BitwiseCopyable) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
