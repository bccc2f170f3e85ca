import BackupFormats

/// A writer that tells its stage how it ended.
final class StagedIndexWriter: IndexWriter {
    private let writer: any IndexWriter
    // The stage holds the writer until it ended; the session holds the stage.
    private weak let stage: SnapshotStage?

    init(_ writer: any IndexWriter, _ stage: SnapshotStage) {
        self.writer = writer
        self.stage = stage
    }

    var name: ArchiveName { writer.name }
    var appendedCount: Int { writer.appendedCount }

    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws {
        try writer.append(digest, length: length, at: offset)
    }

    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary {
        do {
            let summary = try writer.close(chunkCount: chunkCount, size: size, checksum: checksum)
            stage?.closed(self, summary)
            return summary
        } catch {
            stage?.closed(self, nil)
            throw error
        }
    }

    func discard() {
        writer.discard()
        stage?.discarded(self)
    }
}
