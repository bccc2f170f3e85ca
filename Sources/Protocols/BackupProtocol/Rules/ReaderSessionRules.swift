package import BackupFormats

/// The rules of one reader session, without I/O: only chunks of indexes that were downloaded in this session may be
/// fetched. (Spec: protocol B.2.)
package struct ReaderSessionRules: ~Copyable {
    private var allowed = DigestSet()
    private var isOver = false

    package init() {}

    /// Which file of the snapshot a download names.
    package func checkDownload(name: String) throws(BackupFailure) -> ArchiveName {
        try requireActive()
        guard let file = ArchiveName(name) else {
            throw BackupFailure(.invalidInput, "unknown archive type: \"\(name)\"")
        }
        return file
    }

    /// A downloaded index names these chunks; said before its body is sent.
    package mutating func allow(_ digests: some Sequence<ChunkDigest>) throws(BackupFailure) {
        for digest in digests { try allowed.insert(digest) }
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthenticated`, which is answered with a delay.
    package func checkChunk(_ digest: ChunkDigest) throws(BackupFailure) {
        try requireActive()
        guard allowed.contains(digest) else {
            throw BackupFailure(.notAuthenticated, "download chunk \(digest) not allowed")
        }
    }

    package mutating func connectionEnded() { isOver = true }

    private func requireActive() throws(BackupFailure) {
        guard !isOver else { throw BackupFailure(.cancelled, "the session is over") }
    }
}
