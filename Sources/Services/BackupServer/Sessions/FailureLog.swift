import BackupFormats
import BackupProtocol
import Synchronization
import Tasks

/// Writes failing calls into a session's task log: method, path, status, text. (Spec: protocol A.7.)
final class FailureLog: Sendable {
    /// Further ones are counted only, so that a client cannot fill the disk.
    private static let lineLimit = 1000
    private static let textLimit = 1024

    private let task: RunningTask
    private let count = Mutex(0)

    init(_ task: RunningTask) { self.task = task }

    func note(_ head: BackupRequestHead, _ response: BackupResponse) {
        guard response.status != 200 else { return }
        let number = count.withLock { count in
            count += 1
            return count
        }
        guard number <= Self.lineLimit else {
            if number == Self.lineLimit + 1 { task.log("further failing calls are not logged") }
            return
        }
        var text = ""
        if case .bytes(let bytes) = response.body {
            text = String(decoding: bytes.prefix(Self.textLimit), as: UTF8.self)
        }
        task.log("\(head.method.prefix(16)) \(head.path.prefix(256)): \(response.status) \(text)")
    }
}
