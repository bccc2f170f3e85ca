import BackupFormats

/// A writer that tells its stage how it ended.
final class StagedIndexWriter: IndexWriter {
    private let writer: any IndexWriter
    // The stage holds the writer until it ended; the session holds the stage.
    private let ended: @Sendable (IndexSummary?) -> Void
    private let dropped: @Sendable () -> Void

    init(_ writer: any IndexWriter, _ stage: SnapshotStage) {
        self.writer = writer
        let name = writer.name
        ended = { [weak stage] summary in stage?.closed(name, summary) }
        dropped = { [weak stage] in stage?.discarded(name) }
    }

    var name: ArchiveName { writer.name }
    var appendedCount: Int { writer.appendedCount }

    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws {
        try writer.append(digest, length: length, at: offset)
    }

    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary {
        do {
            let summary = try writer.close(chunkCount: chunkCount, size: size, checksum: checksum)
            ended(summary)
            return summary
        } catch {
            ended(nil)
            throw error
        }
    }

    func discard() {
        writer.discard()
        dropped()
    }
}
