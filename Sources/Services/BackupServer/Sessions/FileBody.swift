import BackupFormats
import BackupProtocol
import Datastore
import Platform
import Synchronization

/// The body of an answer that is a file, read on the worker threads while it is sent.
final class FileBody: ByteSource {
    private let index: StoredIndex
    private var byteCount: Int { index.byteCount }
    private let workers: WorkerPool
    private let position = Mutex(0)

    init(_ index: StoredIndex, workers: WorkerPool) {
        self.index = index
        self.workers = workers
    }

    var response: BackupResponse {
        BackupResponse(status: 200, contentType: BackupResponse.octetStream, body: .stream(self, length: byteCount))
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let start = position.withLock { $0 }
        guard start < byteCount else { return nil }
        let (index, count) = (index, min(maxBytes, byteCount - start))
        let bytes = try await workers.run { try index.file.read(at: start, count: count) }
        guard !bytes.isEmpty else {
            throw BackupFailure(
                .corruptData, "index \(index.name) ended at byte \(start) of \(byteCount) while it was sent")
        }
        position.withLock { $0 = start + bytes.count }
        return bytes
    }
}
