package import BackupFormats
private import CZstd

/// Reads plain and compressed blobs. Keeps one zstd context: use one decoder for each worker, one call at a time.
package final class BlobDecoder {
    /// Whether the stored checksum is compared with the bytes.
    package enum ChecksumPolicy: Sendable { case verify, ignore }

    private let context: OpaquePointer

    package init() {
        guard let context = ZSTD_createDCtx() else { preconditionFailure("out of memory") }
        self.context = context
    }

    deinit {
        ZSTD_freeDCtx(context)
    }

    /// The content of `blob`.
    ///
    /// - Parameter limit: Bytes of content at most, checked before memory is taken: ``BlobLimits/maxChunkContent``
    ///   for chunks, ``BlobLimits/maxContent`` for blobs, or what the index says.
    /// - Throws: ``FormatError``: no blob, a wrong checksum, an encrypted blob, damaged compression, too much content.
    package func decode(
        _ blob: UnsafeRawBufferPointer, limit: Int, checksum policy: ChecksumPolicy = .verify
    ) throws(FormatError) -> [UInt8] {
        let header = try Self.header(of: blob)
        let payload = UnsafeRawBufferPointer(rebasing: blob[header.encoding.headerByteCount...])
        if policy == .verify {
            let computed = CRC32.checksum(of: payload)
            guard computed == header.checksum else {
                throw .checksumMismatch(stored: header.checksum, computed: computed)
            }
        }
        switch header.encoding {
        case .plain:
            guard payload.count <= limit else { throw .tooLong(UInt64(payload.count), limit: limit, offset: 12) }
            return [UInt8](payload)
        case .compressed:
            return try decompress(payload, limit: limit, offset: 12)
        case .encrypted, .compressedThenEncrypted:
            throw .invalid("the blob is encrypted", offset: 0)
        }
    }

    package func decode(
        _ blob: [UInt8], limit: Int, checksum policy: ChecksumPolicy = .verify
    ) throws(FormatError) -> [UInt8] {
        try blob.span.bytes.withUnsafeBytes { bytes throws(FormatError) in
            try decode(bytes, limit: limit, checksum: policy)
        }
    }

    private static func header(of blob: UnsafeRawBufferPointer) throws(FormatError) -> DataBlobHeader {
        let front = [UInt8](blob.prefix(DataBlobHeader.Encoding.encrypted.headerByteCount))
        return try DataBlobHeader(parsing: front)
    }

    /// The content of one or more zstd frames, with or without a size in their headers.
    ///
    /// - Parameters:
    ///   - limit: Bytes of content at most.
    ///   - offset: Where the frames stand in what the caller parses; errors name it.
    package func decompress(
        _ frames: UnsafeRawBufferPointer, limit: Int, offset: Int
    ) throws(FormatError) -> [UInt8] {
        guard !frames.isEmpty else { throw .truncated(offset: offset, needed: 1, available: 0) }
        guard let announced = try Self.announcedSize(frames, limit: limit, offset: offset) else {
            return try stream(frames, limit: limit, offset: offset)
        }
        var result = 0
        let content = [UInt8](unsafeUninitializedCapacity: announced) { buffer, count in
            result = ZSTD_decompressDCtx(context, buffer.baseAddress, buffer.count, frames.baseAddress, frames.count)
            count = ZSTD_isError(result) == 0 ? result : 0
        }
        try Self.check(result, offset)
        return content
    }

    /// Decodes into memory of the caller, and gives the bytes of content.
    ///
    /// - Throws: ``FormatError``, also where the content is longer than `output`.
    package func decompress(
        _ frames: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, offset: Int
    ) throws(FormatError) -> Int {
        guard !frames.isEmpty else { throw .truncated(offset: offset, needed: 1, available: 0) }
        let result = ZSTD_decompressDCtx(context, output.baseAddress, output.count, frames.baseAddress, frames.count)
        try Self.check(result, offset)
        return result
    }

    /// The sum of the sizes that the frames' headers give; nil where one gives none.
    private static func announcedSize(
        _ frames: UnsafeRawBufferPointer, limit: Int, offset: Int
    ) throws(FormatError) -> Int? {
        // `ZSTD_CONTENTSIZE_UNKNOWN` and `ZSTD_CONTENTSIZE_ERROR` are macros that Swift does not see.
        let (unknownSize, sizeError) = (UInt64.max, UInt64.max - 1)
        var total = 0
        var rest = frames
        while !rest.isEmpty {
            let size = ZSTD_getFrameContentSize(rest.baseAddress, rest.count)
            if size == unknownSize { return nil }
            guard size != sizeError else {
                throw .invalid("no zstd frame", offset: offset + frames.count - rest.count)
            }
            guard size <= UInt64(limit - total) else {
                throw .tooLong(size, limit: limit, offset: offset + frames.count - rest.count)
            }
            total += Int(size)
            let length = ZSTD_findFrameCompressedSize(rest.baseAddress, rest.count)
            try check(length, offset + frames.count - rest.count)
            rest = UnsafeRawBufferPointer(rebasing: rest[min(length, rest.count)...])
        }
        return total
    }

    private static func check(_ result: Int, _ offset: Int) throws(FormatError) {
        guard ZSTD_isError(result) == 0 else {
            throw .invalid("damaged zstd frame: \(String(cString: ZSTD_getErrorName(result)))", offset: offset)
        }
    }

    /// Content of unknown size: room grows by doubling, up to one byte above the limit, which tells "too much".
    private func stream(
        _ frames: UnsafeRawBufferPointer, limit: Int, offset: Int
    ) throws(FormatError) -> [UInt8] {
        ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
        // A frame may ask for a window, which is memory: what the limit justifies, and 16 MiB in any case.
        let windowLog = min(27, max(24, Int.bitWidth - limit.leadingZeroBitCount))
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(windowLog))
        var room = min(limit + 1, max(1 << 16, frames.count * 4))
        var content: [UInt8] = []
        var input = ZSTD_inBuffer(src: frames.baseAddress, size: frames.count, pos: 0)
        while true {
            var result = 0
            let old = content
            content = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                UnsafeMutableRawBufferPointer(buffer).copyBytes(from: old)
                var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: old.count)
                repeat {
                    result = ZSTD_decompressStream(context, &output, &input)
                } while ZSTD_isError(result) == 0 && output.pos < output.size && input.pos < input.size
                count = output.pos
            }
            try Self.check(result, offset)
            guard content.count <= limit else {
                throw .tooLong(UInt64(content.count), limit: limit, offset: offset)
            }
            if content.count < room {
                guard result == 0 else {
                    throw .truncated(offset: offset, needed: frames.count + result, available: frames.count)
                }
                return content
            }
            if result == 0, input.pos == input.size { return content }
            room = min(limit + 1, room * 2)
        }
    }
}
