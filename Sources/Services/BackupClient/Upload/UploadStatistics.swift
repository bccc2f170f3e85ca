import Synchronization

/// What an upload has done so far. Bytes are of plain content unless the name says otherwise.
package struct UploadStatistics: Sendable, Equatable {
    /// Bytes that went through the chunker, or were read from an image.
    package var readBytes: Int64 = 0
    package var chunks: Int64 = 0
    /// Chunks that the server had, and their bytes.
    package var knownChunks: Int64 = 0
    package var knownBytes: Int64 = 0
    /// What was sent.
    package var sentChunks: Int64 = 0
    package var sentBytes: Int64 = 0
    /// What was sent, compressed and encrypted.
    package var encodedBytes: Int64 = 0
    /// Of those sent, chunks that the server has said it had, and their bytes, encoded.
    package var duplicateChunks: Int64 = 0
    package var duplicateEncodedBytes: Int64 = 0

    package init() {}

    /// The share of the bytes that needed not be sent, 0 to 1.
    package var knownShare: Double {
        let done = knownBytes + sentBytes
        return done > 0 ? Double(knownBytes) / Double(done) : 0
    }
}

extension UploadStatistics {
    package static func + (left: Self, right: Self) -> Self {
        var sum = left
        sum.readBytes += right.readBytes
        sum.chunks += right.chunks
        sum.knownChunks += right.knownChunks
        sum.knownBytes += right.knownBytes
        sum.sentChunks += right.sentChunks
        sum.sentBytes += right.sentBytes
        sum.encodedBytes += right.encodedBytes
        sum.duplicateChunks += right.duplicateChunks
        sum.duplicateEncodedBytes += right.duplicateEncodedBytes
        return sum
    }
}

/// Counts from many threads; whoever shows progress looks at ``current``.
package final class UploadCounter: Sendable {
    private let statistics = Mutex(UploadStatistics())

    package init() {}

    package var current: UploadStatistics { statistics.withLock { $0 } }

    func update(_ change: (inout UploadStatistics) -> Void) {
        statistics.withLock { change(&$0) }
    }
}
