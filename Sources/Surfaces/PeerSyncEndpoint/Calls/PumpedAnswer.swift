import BackupFormats
import PeerSyncProtocol

/// An answer whose messages are made by a task, as fast as they are taken. Whoever lets go of it ends the task.
final class PumpedAnswer: ByteSource {
    private let messages: OutgoingMessages
    private let task: Task<Void, Never>

    init(timeout: Duration?, _ pump: @escaping @Sendable (OutgoingMessages) async throws -> Void) {
        let messages = OutgoingMessages()
        self.messages = messages
        task = Task {
            let timer = timeout.map { timeout in
                Task {
                    try await Task.sleep(for: timeout)
                    let end = StreamEnd(
                        code: .deadlineExceeded, message: "the time that the client has set is over")
                    messages.finish(with: end.encoded)
                }
            }
            do {
                try await pump(messages)
                messages.finish(with: StreamEnd.clean.encoded)
            } catch {
                messages.finish(with: StreamEnd(error).encoded)
            }
            timer?.cancel()
        }
    }

    deinit {
        task.cancel()
        messages.cut()
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? { try await messages.read(upTo: maxBytes) }
}
