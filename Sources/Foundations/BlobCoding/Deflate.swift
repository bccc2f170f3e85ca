private import CDeflate

/// Compression of answers and of members of ZIP archives.
package enum Deflate {
    /// Fast, and good enough for text.
    private static let level: Int32 = 3

    /// The zlib form (RFC 1950), which HTTP calls `deflate`; nil where memory is short.
    package static func zlib(_ bytes: [UInt8]) -> [UInt8]? {
        compress(bytes, libdeflate_zlib_compress_bound, libdeflate_zlib_compress)
    }

    /// The bare form (RFC 1951) of ZIP archives; nil where memory is short.
    package static func raw(_ bytes: [UInt8]) -> [UInt8]? {
        compress(bytes, libdeflate_deflate_compress_bound, libdeflate_deflate_compress)
    }

    private static func compress(
        _ bytes: [UInt8], _ bound: (OpaquePointer?, Int) -> Int,
        _ body: (OpaquePointer?, UnsafeRawPointer?, Int, UnsafeMutableRawPointer?, Int) -> Int
    ) -> [UInt8]? {
        guard let compressor = libdeflate_alloc_compressor(level) else { return nil }
        defer { libdeflate_free_compressor(compressor) }
        let room = bound(compressor, bytes.count)
        let result = bytes.withUnsafeBytes { input in
            [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                count = body(compressor, input.baseAddress, input.count, buffer.baseAddress, buffer.count)
            }
        }
        // Zero means that the room was too small, which it cannot be.
        return result.isEmpty ? nil : result
    }
}
