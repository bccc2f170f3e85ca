package import BackupFormats

/// What a closed index is, as a manifest lists it.
package struct IndexSummary: Hashable, Sendable {
    package var name: ArchiveName
    /// Bytes of the archive.
    package var size: UInt64
    package var checksum: ChunkDigest
    package var chunkCount: Int
}

/// Writes an index file of a staged snapshot under a temporary name until it is closed.
///
/// Calls may come from any thread and follow each other; a writer that was closed or discarded refuses all.
package protocol IndexWriter: Sendable {
    var name: ArchiveName { get }
    /// Entries accepted so far; overwriting one of a fixed index counts again.
    var appendedCount: Int { get }

    /// Enters a chunk. The caller has checked that the digest is known to the session, and gives the length that it
    /// is known by.
    ///
    /// - Parameter offset: Where the chunk starts in the archive.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where offset or length break the rules of the kind (spec:
    ///   formats §2.4, §3.3); the index is as before.
    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws

    /// Checks what the client counted and gives the file its final name. A failure discards the writer and its file.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` naming the value that differs.
    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary

    /// Removes the temporary file. The second call does nothing, nor does one after closing.
    func discard()
}

extension IndexWriter {
    static func mismatch(
        _ name: ArchiveName, _ what: String, _ given: some CustomStringConvertible, _ own: some CustomStringConvertible
    ) -> BackupFailure {
        BackupFailure(.invalidInput, "Index \(name) cannot be closed: \(what) is \(own), the client says \(given)")
    }

    static func closed(_ name: ArchiveName) -> BackupFailure {
        BackupFailure(.invalidInput, "Index \(name) is closed already")
    }
}
