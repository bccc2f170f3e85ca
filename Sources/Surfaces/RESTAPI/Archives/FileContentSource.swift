import BackupFormats
import BackupProtocol
import Synchronization

/// The bytes of one file of an archive.
final class FileContentSource: ByteSource {
    /// Largest piece that is read at once.
    private static let pieceBytes: UInt64 = 1024 * 1024

    private let content: FileArchive.Content
    private let position: Mutex<UInt64>

    init(_ content: FileArchive.Content) {
        self.content = content
        position = Mutex(content.range.lowerBound)
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let start = position.withLock { $0 }
        let count = min(content.range.upperBound - start, UInt64(maxBytes), Self.pieceBytes)
        guard count > 0 else { return nil }
        let bytes = try await content.source.read(at: start, count: Int(count))
        position.withLock { $0 += count }
        return bytes
    }
}
