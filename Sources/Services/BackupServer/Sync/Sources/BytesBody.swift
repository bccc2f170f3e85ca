import BackupProtocol
import Synchronization

/// A body that is there already.
final class BytesBody: BodySource {
    private let bytes: [UInt8]
    private let position = Mutex(0)

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        position.withLock { position in
            guard position < bytes.count else { return nil }
            let end = min(bytes.count, position + maxBytes)
            defer { position = end }
            return Array(bytes[position..<end])
        }
    }
}
