package import BackupFormats
private import CZstd

/// Makes plain and compressed blobs. Keeps one zstd context: use one encoder for each worker, one call at a time.
package final class BlobEncoder {
    /// The level of the reference software; higher ones cost time and bring little.
    package static let defaultLevel: Int32 = 1

    private let context: OpaquePointer
    private let level: Int32

    package init(level: Int32 = defaultLevel) {
        guard let context = ZSTD_createCCtx() else { preconditionFailure("out of memory") }
        self.context = context
        self.level = level
    }

    deinit {
        ZSTD_freeCCtx(context)
    }

    /// The whole blob of `content`: header with checksum, then the content, compressed where
    /// `compress` asks for it and it does not grow by it.
    ///
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above ``BlobLimits/maxContent``.
    package func encode(_ content: UnsafeRawBufferPointer, compress: Bool) throws(FormatError) -> [UInt8] {
        try Self.checkSize(content.count)
        let headerByteCount = DataBlobHeader.Encoding.plain.headerByteCount
        let room = compress ? ZSTD_compressBound(content.count) : content.count
        return [UInt8](unsafeUninitializedCapacity: headerByteCount + room) { buffer, count in
            let output = UnsafeMutableRawBufferPointer(buffer)
            let payload = UnsafeMutableRawBufferPointer(rebasing: output[headerByteCount...])
            let compressed = compress ? self.compress(content, into: payload) : nil
            if compressed == nil { payload.copyMemory(from: content) }
            let payloadByteCount = compressed ?? content.count
            let checksum = CRC32.checksum(of: UnsafeRawBufferPointer(rebasing: payload[..<payloadByteCount]))
            var header: [UInt8] = []
            DataBlobHeader(compressed: compressed != nil, checksum: checksum).append(to: &header)
            output.copyBytes(from: header)
            count = headerByteCount + payloadByteCount
        }
    }

    package func encode(_ content: [UInt8], compress: Bool) throws(FormatError) -> [UInt8] {
        try content.span.bytes.withUnsafeBytes { bytes throws(FormatError) in try encode(bytes, compress: compress) }
    }

    /// The content as one zstd frame, or nil where that would be longer than the content.
    ///
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above ``BlobLimits/maxContent``.
    package func compressed(_ content: UnsafeRawBufferPointer) throws(FormatError) -> [UInt8]? {
        try Self.checkSize(content.count)
        var isWorthwhile = false
        let bytes = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(content.count)) { buffer, count in
            if let written = compress(content, into: UnsafeMutableRawBufferPointer(buffer)) {
                isWorthwhile = true
                count = written
            }
        }
        return isWorthwhile ? bytes : nil
    }

    /// The content as one zstd frame, also where that is longer.
    ///
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above ``BlobLimits/maxContent``.
    package func frame(_ content: [UInt8]) throws(FormatError) -> [UInt8] {
        try Self.checkSize(content.count)
        return content.withUnsafeBytes { content in
            [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(content.count)) { buffer, count in
                let written = ZSTD_compressCCtx(
                    context, buffer.baseAddress, buffer.count, content.baseAddress, content.count, level)
                precondition(ZSTD_isError(written) == 0, "the room is the bound, and the level exists")
                count = written
            }
        }
    }

    private static func checkSize(_ count: Int) throws(FormatError) {
        guard count <= BlobLimits.maxContent else {
            throw .tooLong(UInt64(count), limit: BlobLimits.maxContent, offset: 0)
        }
    }

    private func compress(_ content: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        let written = ZSTD_compressCCtx(
            context, output.baseAddress, output.count, content.baseAddress, content.count, level)
        return ZSTD_isError(written) == 0 && written <= content.count ? written : nil
    }
}
