package import BackupFormats
import PeerSyncProtocol
import Synchronization

/// The messages of one direction of a Connect stream, cut out of the bytes as they come. One reader.
package final class IncomingMessages: Sendable {
    package enum Message: Sendable, Equatable {
        case message([UInt8])
        /// The last one of an answer.
        case end([UInt8])
    }

    private static let readBytes = 64 << 10

    private let source: any ByteSource
    private let encoding: MessageEncoding
    /// Whether the other side is the one that answers.
    private let takesEnd: Bool
    private let reader: Mutex<EnvelopeReader>

    package init(
        _ source: any ByteSource, encoding: MessageEncoding, takesEnd: Bool,
        limit: Int = EnvelopeReader.limitOfStrangers
    ) {
        self.source = source
        self.encoding = encoding
        self.takesEnd = takesEnd
        reader = Mutex(EnvelopeReader(limit: limit))
    }

    /// Largest message that is taken, before and after it is decompressed.
    package var limit: Int {
        get { reader.withLock { $0.limit } }
        set { reader.withLock { $0.limit = newValue } }
    }

    /// - Returns: nil where the bytes end, between two messages.
    /// - Throws: ``PeerSyncFailure`` for what is malformed or too large; what the source throws.
    package func next() async throws -> Message? {
        while true {
            if let (envelope, limit) = try take() { return try open(envelope, limit) }
            guard let bytes = try await source.read(upTo: Self.readBytes) else {
                try finish()
                return nil
            }
            reader.withLock { $0.append(bytes) }
        }
    }

    private func take() throws -> (Envelope, limit: Int)? {
        try reader.withLock { reader in try reader.next().map { ($0, reader.limit) } }
    }

    private func finish() throws { try reader.withLock { try $0.finish() } }

    private func open(_ envelope: Envelope, _ limit: Int) throws(PeerSyncFailure) -> Message {
        guard takesEnd || !envelope.isEnd else {
            throw PeerSyncFailure(.protocolError, "the end of an answer from the one who asks")
        }
        let content = envelope.isCompressed ? try encoding.decode(envelope.payload, limit: limit) : envelope.payload
        return envelope.isEnd ? .end(content) : .message(content)
    }
}
