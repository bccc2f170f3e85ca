package import BackupFormats
package import BlobCoding
private import Crypto

extension EncryptionKey {
    /// The whole encrypted blob of `content`: compressed first where `compress` asks for it and it does not
    /// grow by it, then encrypted.
    ///
    /// - Parameter iv: Random for each blob; tests alone choose it.
    /// - Throws: ``FormatError/tooLong(_:limit:offset:)`` above ``BlobLimits/maxContent``.
    package func encode(
        _ content: UnsafeRawBufferPointer, compress: Bool, with encoder: BlobEncoder,
        iv: SIMD16<UInt8> = .random(in: 0...255)
    ) throws(FormatError) -> [UInt8] {
        guard content.count <= BlobLimits.maxContent else {
            throw .tooLong(UInt64(content.count), limit: BlobLimits.maxContent, offset: 0)
        }
        guard compress, let frame = try encoder.compressed(content) else {
            return encode(content, isCompressed: false, iv: iv)
        }
        return frame.withUnsafeBytes { encode($0, isCompressed: true, iv: iv) }
    }

    package func encode(
        _ content: [UInt8], compress: Bool, with encoder: BlobEncoder, iv: SIMD16<UInt8> = .random(in: 0...255)
    ) throws(FormatError) -> [UInt8] {
        try content.span.bytes.withUnsafeBytes { bytes throws(FormatError) in
            try encode(bytes, compress: compress, with: encoder, iv: iv)
        }
    }

    private func encode(_ payload: UnsafeRawBufferPointer, isCompressed: Bool, iv: SIMD16<UInt8>) -> [UInt8] {
        let (seal, box) = seal(payload, iv: iv)
        let start = DataBlobHeader.Encoding.encrypted.headerByteCount
        return [UInt8](unsafeUninitializedCapacity: start + payload.count) { buffer, count in
            let output = UnsafeMutableRawBufferPointer(buffer)
            let ciphertext = UnsafeMutableRawBufferPointer(rebasing: output[start...])
            ciphertext.copyBytes(from: box.ciphertext)
            let checksum = CRC32.checksum(of: UnsafeRawBufferPointer(ciphertext))
            var header: [UInt8] = []
            DataBlobHeader(sealed: seal, compressed: isCompressed, checksum: checksum).append(to: &header)
            output.copyBytes(from: header)
            count = start + payload.count
        }
    }

    /// The content of an encrypted blob.
    ///
    /// - Parameter limit: Bytes of content at most, as for ``BlobDecoder``.
    /// - Throws: ``FormatError``: no blob, not encrypted, a wrong checksum, a tag that does not fit (another
    ///   key, or damage), damaged compression, too much content.
    package func decode(
        _ blob: UnsafeRawBufferPointer, limit: Int, with decoder: BlobDecoder,
        checksum policy: BlobDecoder.ChecksumPolicy = .verify
    ) throws(FormatError) -> [UInt8] {
        let header = try DataBlobHeader(parsing: [UInt8](blob.prefix(44)))
        guard let seal = header.seal else { throw .invalid("the blob is not encrypted", offset: 0) }
        let start = header.encoding.headerByteCount
        let ciphertext = UnsafeRawBufferPointer(rebasing: blob[start...])
        if policy == .verify {
            let computed = CRC32.checksum(of: ciphertext)
            guard computed == header.checksum else {
                throw .checksumMismatch(stored: header.checksum, computed: computed)
            }
        }
        // Compression never makes content longer, so this holds for both encodings.
        guard ciphertext.count <= limit else { throw .tooLong(UInt64(ciphertext.count), limit: limit, offset: start) }
        guard let payload = open(ciphertext, seal) else {
            throw .invalid("the blob does not open: another key, or damage", offset: 28)
        }
        guard header.encoding.isCompressed else { return payload }
        return try payload.span.bytes.withUnsafeBytes { bytes throws(FormatError) in
            try decoder.decompress(bytes, limit: limit, offset: start)
        }
    }

    package func decode(
        _ blob: [UInt8], limit: Int, with decoder: BlobDecoder, checksum policy: BlobDecoder.ChecksumPolicy = .verify
    ) throws(FormatError) -> [UInt8] {
        try blob.span.bytes.withUnsafeBytes { bytes throws(FormatError) in
            try decode(bytes, limit: limit, with: decoder, checksum: policy)
        }
    }
}
