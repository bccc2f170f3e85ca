import BackupFormats
import BackupProtocol
import Datastore
import Platform
import Synchronization

/// The bytes of a file of a snapshot as they are stored; holds the snapshot until it goes.
final class StoredFileSource: ByteSource {
    /// Largest piece that is read at once.
    private static let pieceBytes = 1024 * 1024

    private let file: OpenFile
    private let reader: SnapshotReader
    private let workers: WorkerPool
    private let offset = Mutex(0)

    init(_ file: OpenFile, of reader: SnapshotReader, workers: WorkerPool) {
        self.file = file
        self.reader = reader
        self.workers = workers
    }

    deinit { reader.close() }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let start = offset.withLock { $0 }
        let piece = try await workers.run { [file] in
            try file.read(at: start, count: min(maxBytes, Self.pieceBytes))
        }
        offset.withLock { $0 += piece.count }
        return piece.isEmpty ? nil : piece
    }
}
