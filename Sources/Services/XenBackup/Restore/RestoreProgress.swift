import BackupFormats
import Synchronization
import Tasks

/// Counts the bytes that a restore reads, and tells its task how far it is.
final class RestoreProgress: Sendable {
    private let task: TaskNode
    private let state: Mutex<(done: UInt64, total: UInt64)>

    /// - Parameter total: Bytes to come, where they are known already.
    init(task: TaskNode, total: UInt64? = nil) {
        self.task = task
        state = Mutex((0, total ?? 0))
    }

    var byteCount: UInt64 { state.withLock { $0.done } }

    /// More is to come.
    func expect(_ byteCount: UInt64) { state.withLock { $0.total += byteCount } }

    func add(_ byteCount: Int) {
        let (done, total) = state.withLock { state in
            state.done += UInt64(byteCount)
            return state
        }
        // The end is for the task to tell.
        if total > 0 { task.progress(min(0.99, Double(done) / Double(total))) }
    }
}

/// A source whose bytes count as progress.
struct CountedSource: ByteSource {
    private let source: any ByteSource
    private let progress: RestoreProgress

    init(_ source: any ByteSource, _ progress: RestoreProgress) {
        self.source = source
        self.progress = progress
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let bytes = try await source.read(upTo: maxBytes)
        if let bytes { progress.add(bytes.count) }
        return bytes
    }
}
