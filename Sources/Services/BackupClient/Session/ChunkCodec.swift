package import BackupFormats
import BlobCoding
package import BlobEncryption
import Crypto
import Synchronization

/// What becomes of content on its way to the server and back: digest, compression, encryption. Used by many threads.
package final class ChunkCodec: Sendable {
    /// Encrypts and decrypts where there is one; otherwise chunks are plain.
    package let key: EncryptionKey?
    private let coders = BlobCoders()
    private let zeroDigests = Mutex<[Int: ChunkDigest]>([:])

    package init(key: EncryptionKey?) {
        self.key = key
    }

    // MARK: - Digests

    package func digest(of content: UnsafeRawBufferPointer) -> ChunkDigest {
        if let key { return key.digest(of: content) }
        var hasher = SHA256()
        hasher.update(bufferPointer: content)
        return ChunkDigest(hasher.finalize())
    }

    /// Lengths whose zero digest is remembered; the last chunks of images have odd ones.
    private static let rememberedLengths = 64

    /// The digest of so many zeros; remembered, since images have many.
    package func digestOfZeros(_ byteCount: Int) -> ChunkDigest {
        if let digest = zeroDigests.withLock({ $0[byteCount] }) { return digest }
        let digest = [UInt8](repeating: 0, count: byteCount).withUnsafeBytes { self.digest(of: $0) }
        zeroDigests.withLock { if $0.count < Self.rememberedLengths { $0[byteCount] = digest } }
        return digest
    }

    // MARK: - Chunks

    /// The blob of a chunk: compressed where that helps, encrypted where there is a key.
    package func encode(_ content: UnsafeRawBufferPointer) throws -> [UInt8] {
        try coders.withEncoder { encoder in
            if let key { return try key.encode(content, compress: true, with: encoder) }
            return try encoder.encode(content, compress: true)
        }
    }

    /// The content of a chunk's blob. With a key the blob must be encrypted, without one plain; the other kind is
    /// refused, lest somebody who has no key slips chunks into an encrypted archive.
    ///
    /// - Throws: ``FormatError``: the other kind, damage, another length, another digest.
    package func decode(
        _ blob: [UInt8], digest expected: ChunkDigest, byteCount: Int
    ) throws(FormatError) -> [UInt8] {
        let isEncrypted = try DataBlobHeader(parsing: blob).encoding.isEncrypted
        guard isEncrypted == (key != nil) else {
            throw .invalid(
                isEncrypted ? "an encrypted chunk in a plain archive" : "a plain chunk in an encrypted archive",
                offset: 0)
        }
        // The digest covers more than the checksum does.
        let content = try coders.withDecoder { decoder throws(FormatError) in
            if let key { return try key.decode(blob, limit: byteCount, with: decoder, checksum: .ignore) }
            return try decoder.decode(blob, limit: byteCount, checksum: .ignore)
        }
        guard content.count == byteCount else {
            throw .invalid("\(content.count) bytes of content where the index says \(byteCount)", offset: 0)
        }
        guard digest(of: content) == expected else { throw .invalid("the content has another digest", offset: 0) }
        return content
    }

    private func digest(of content: [UInt8]) -> ChunkDigest {
        content.withUnsafeBytes { digest(of: $0) }
    }

    // MARK: - Blobs

    /// A `.blob` file: as chunks are.
    package func encodeBlob(_ content: [UInt8]) throws -> [UInt8] {
        try content.withUnsafeBytes { try encode($0) }
    }

    /// A `.blob` file that is never encrypted.
    package func encodePlain(_ content: [UInt8], compress: Bool) throws -> [UInt8] {
        try coders.withEncoder { try $0.encode(content, compress: compress) }
    }

    /// The content of a `.blob` file, encrypted or not.
    ///
    /// - Throws: ``FormatError``; also where it is encrypted and there is no key.
    package func decodeBlob(_ blob: [UInt8]) throws(FormatError) -> [UInt8] {
        let isEncrypted = try DataBlobHeader(parsing: blob).encoding.isEncrypted
        return try coders.withDecoder { decoder throws(FormatError) in
            if isEncrypted, let key { return try key.decode(blob, limit: BlobLimits.maxContent, with: decoder) }
            return try decoder.decode(blob, limit: BlobLimits.maxContent)
        }
    }
}
