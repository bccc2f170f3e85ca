/// How big chunks and blobs may be, in bytes. (Spec: formats §1.4.)
package enum BlobLimits {
    /// The content of one chunk.
    package static let maxChunkContent = 16 << 20
    /// The content that an encoder takes.
    package static let maxContent = 128 << 20
    /// A chunk as it travels and lies on disk; an empty chunk does not exist.
    package static let encodedChunk = 13...maxChunkContent + 44
    /// A `.blob` file as it travels and lies on disk; 12 bytes are an empty one.
    package static let encodedBlob = 12...maxChunkContent + 44
}
