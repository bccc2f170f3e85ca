package import BackupFormats
private import CDeflate

/// The gzip form (RFC 1952) of small files that others write and read, too.
package enum Gzip {
    private static let level: Int32 = 6
    /// The least that a file can have: header of 10 bytes, an empty block, checksum and length.
    private static let minByteCount = 20

    /// - Returns: nil where memory is short.
    package static func compress(_ bytes: [UInt8]) -> [UInt8]? {
        guard let compressor = libdeflate_alloc_compressor(level) else { return nil }
        defer { libdeflate_free_compressor(compressor) }
        let room = libdeflate_gzip_compress_bound(compressor, bytes.count)
        let result = bytes.withUnsafeBytes { input in
            [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                count = libdeflate_gzip_compress(
                    compressor, input.baseAddress, input.count, buffer.baseAddress, buffer.count)
            }
        }
        return result.isEmpty ? nil : result
    }

    /// Takes a file of one member apart.
    ///
    /// - Parameter limit: Bytes of the content that are taken at most; checked before memory is.
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above the limit, ``FormatError/truncated(offset:needed:available:)``
    ///   and ``FormatError/invalid(_:offset:)``.
    package static func decompress(_ bytes: [UInt8], limit: Int) throws(FormatError) -> [UInt8] {
        guard bytes.count >= minByteCount - 2 else {
            throw .truncated(offset: 0, needed: minByteCount, available: bytes.count)
        }
        // The last four bytes tell the length of the content, little-endian.
        let length = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= limit else { throw .tooLong(length, limit: limit, offset: bytes.count - 4) }
        guard let decompressor = libdeflate_alloc_decompressor() else {
            throw .invalid("no memory to decompress", offset: 0)
        }
        defer { libdeflate_free_decompressor(decompressor) }
        var status = LIBDEFLATE_BAD_DATA
        let result = bytes.withUnsafeBytes { input in
            // One byte more than announced, so that an empty content has an address, too.
            [UInt8](unsafeUninitializedCapacity: Int(length) + 1) { buffer, count in
                var actual = 0
                status = libdeflate_gzip_decompress(
                    decompressor, input.baseAddress, input.count, buffer.baseAddress, Int(length), &actual)
                count = status == LIBDEFLATE_SUCCESS ? actual : 0
            }
        }
        guard status == LIBDEFLATE_SUCCESS else { throw .invalid("not a gzip file, or a damaged one", offset: 0) }
        return result
    }
}
