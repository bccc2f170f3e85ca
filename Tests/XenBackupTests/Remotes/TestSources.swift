import BackupFormats
import CairnTestSupport
import Synchronization

/// Bytes in pieces of random length, which may end in a failure.
final class RaggedSource: ByteSource {
    private let bytes: [UInt8]
    private let failsAt: Int?
    private let state: Mutex<(offset: Int, random: SeededRandom)>

    init(_ bytes: [UInt8], seed: UInt64, failsAt: Int? = nil) {
        self.bytes = bytes
        self.failsAt = failsAt
        state = Mutex((0, SeededRandom(seed: seed)))
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        try state.withLock { state in
            if let failsAt, state.offset >= failsAt { throw BackupFailure(.corruptData, "The source broke") }
            guard state.offset < bytes.count else { return nil }
            let end = min(bytes.count, state.offset + Int.random(in: 1...min(maxBytes, 300_000), using: &state.random))
            defer { state.offset = end }
            return Array(bytes[state.offset..<end])
        }
    }
}

/// Zeros until the task that reads is cancelled.
struct EndlessSource: ByteSource {
    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        try Task.checkCancellation()
        try await Task.sleep(for: .milliseconds(1))
        return [UInt8](repeating: 0, count: min(maxBytes, 1000))
    }
}
