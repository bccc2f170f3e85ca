import Synchronization

/// What passed through this server since it started. Counting never waits for long.
package final class TrafficCounters: Sendable {
    package struct Figures: Sendable {
        /// Answers of the REST API by the first digit of their status.
        package var answers: [Int: Int] = [:]
        /// Chunks that backup sessions sent, and how many of them were there already.
        package var receivedChunks = 0
        package var duplicateChunks = 0
        /// Encoded bytes of chunks, from backup sessions and to reader sessions.
        package var receivedBytes = 0
        package var sentBytes = 0
    }

    private let counted = Mutex(Figures())

    package init() {}

    package var figures: Figures { counted.withLock { $0 } }

    package func answered(status: Int) { counted.withLock { $0.answers[status / 100, default: 0] += 1 } }

    func received(byteCount: Int, isDuplicate: Bool) {
        counted.withLock { figures in
            figures.receivedChunks += 1
            if isDuplicate { figures.duplicateChunks += 1 }
            figures.receivedBytes += byteCount
        }
    }

    func sent(byteCount: Int) { counted.withLock { $0.sentBytes += byteCount } }
}
