package import BackupFormats
import Chunking

extension SnapshotUpload {
    /// Pieces that wait between those who read and those who cut: 4 MiB.
    private static let pieceLimit = 4
    private static let pieceBytes = 1 << 20

    /// Sends bytes of unknown length as an archive that is cut by its content.
    ///
    /// - Parameters:
    ///   - head: Bytes that were read before.
    ///   - source: What follows them; asked until its end.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where there are no bytes at all; what the source throws.
    package func sendStream(_ archive: ArchiveName, head: [UInt8] = [], from source: any ByteSource) async throws
        -> IndexSummary
    {
        guard let chunker = Chunker(averageSize: Chunker.defaultAverageSize) else {
            throw BackupFailure(.internalFault, "The size of chunks is not defined")
        }
        let index = try await beginStream(archive)
        let pieces = Channel<[UInt8]>(limit: Self.pieceLimit)
        return try await withThrowingTaskGroup(of: IndexSummary?.self) { group in
            group.addTask {
                if !head.isEmpty { try await pieces.push(head) }
                while let piece = try await source.read(upTo: Self.pieceBytes) {
                    try Task.checkCancellation()
                    try await pieces.push(piece)
                }
                pieces.finish()
                return nil
            }
            group.addTask { [self] in
                try await sendStream(index, chunker: chunker) { sink in
                    while let piece = try pieces.nextBlocking() { try sink.write(piece) }
                }
            }
            var summary: IndexSummary?
            do {
                while let result = try await group.next() { summary = result ?? summary }
            } catch {
                // Both sides end, whichever failed.
                pieces.fail(error)
                engine.abort(error)
                throw engine.firstFailure ?? error
            }
            guard let summary else { throw BackupFailure(.internalFault, "\(archive) was not sent") }
            return summary
        }
    }
}
