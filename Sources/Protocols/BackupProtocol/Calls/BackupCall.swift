package import BackupFormats

/// The calls of the backup protocol, with their parameters checked. (Spec: protocol B.1.)
package enum BackupCall: Sendable, Equatable {
    /// `GET /`
    case directory
    /// `POST /dynamic_index`
    case openDynamicIndex(name: String)
    /// `POST /fixed_index`; `reuse` is the checksum of the base's index whose entries are taken over.
    case openFixedIndex(name: String, size: UInt64, reuse: String?)
    /// `POST /dynamic_chunk`, `POST /fixed_chunk`
    case uploadChunk(WriterKind, ChunkUpload)
    /// `PUT /dynamic_index`, `PUT /fixed_index`
    case append(WriterKind, ChunkAppend)
    /// `POST /dynamic_close`, `POST /fixed_close`
    case close(WriterKind, IndexClose)
    /// `POST /blob`
    case uploadBlob(name: String, encodedSize: Int)
    /// `GET /previous_backup_time`
    case previousBackupTime
    /// `GET /previous`
    case previous(name: String)
    /// `POST /finish`
    case finish
    /// `POST /speedtest`
    case speedtest
}

/// What accompanies a chunk.
package struct ChunkUpload: Sendable, Equatable {
    package var writer: Int
    package var digest: ChunkDigest
    /// Bytes of the plain content.
    package var size: Int
    /// Bytes of the blob in the body.
    package var encodedSize: Int

    package init(writer: Int, digest: ChunkDigest, size: Int, encodedSize: Int) {
        self.writer = writer
        self.digest = digest
        self.size = size
        self.encodedSize = encodedSize
    }
}

/// Entries for an index, in order.
package struct ChunkAppend: Sendable, Equatable {
    package var writer: Int
    package var digests: [ChunkDigest]
    /// Where each chunk starts in the archive; as many as digests, unless the client is wrong.
    package var offsets: [UInt64]

    package init(writer: Int, digests: [ChunkDigest], offsets: [UInt64]) {
        self.writer = writer
        self.digests = digests
        self.offsets = offsets
    }
}

/// What the client counted for an index.
package struct IndexClose: Sendable, Equatable {
    package var writer: Int
    package var chunkCount: UInt64
    package var size: UInt64
    /// Hexadecimal; not checked as a parameter.
    package var checksum: String

    package init(writer: Int, chunkCount: UInt64, size: UInt64, checksum: String) {
        self.writer = writer
        self.chunkCount = chunkCount
        self.size = size
        self.checksum = checksum
    }
}
