/// The value of the `Upgrade` header that names a protocol, compared exactly. (Spec: protocol A.3.)
package enum ProtocolID: String, CaseIterable, Sendable {
    case backup = "proxmox-backup-protocol-v1"
    case reader = "proxmox-backup-reader-protocol-v1"
}

/// Sizes that both ends of a session keep to. (Spec: protocol A.6, B; decision 7.)
package enum SessionLimits {
    /// Body of a parameter endpoint.
    package static let parameterBodyBytes = 512 * 1024
    /// Plain length of a chunk.
    package static let chunkBytes = 16 * 1024 * 1024
    /// Largest blob: a chunk with the longest header.
    package static let blobBytes = chunkBytes + 44
    /// Length of the chunks of a fixed index.
    package static let fixedChunkBytes = 4 * 1024 * 1024
    /// Writers of one session; also the largest writer id.
    package static let writers = 256
    /// Calls in flight on one connection.
    package static let concurrentCalls = 200
}
