import Synchronization

/// Bytes that are there already, as a source.
package final class BytesSource: ByteSource {
    private let bytes: [UInt8]
    private let position = Mutex(0)

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        position.withLock { position in
            guard position < bytes.count else { return nil }
            let end = min(bytes.count, position + maxBytes)
            defer { position = end }
            return Array(bytes[position..<end])
        }
    }
}
