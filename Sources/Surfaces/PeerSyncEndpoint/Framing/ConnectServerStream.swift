package import BackupFormats
import PeerSync
package import PeerSyncProtocol
import Synchronization

/// A stream that somebody has opened here: their request is the one direction, our answer the other.
package final class ConnectServerStream: PeerStream {
    package let peerAddress: String
    private let incoming: IncomingMessages
    private let outgoing: OutgoingMessages
    private let reading = CancellableRead()
    private let onTrust: @Sendable () -> Void

    /// - Parameters:
    ///   - request: What the client sends, while it comes.
    ///   - onTrust: Called when the session has made sure who it is.
    package init(
        peerAddress: String, request: any ByteSource, encoding: MessageEncoding,
        patience: Duration = PeerLimits.sendPatience, onTrust: @escaping @Sendable () -> Void = {}
    ) {
        self.peerAddress = peerAddress
        self.onTrust = onTrust
        incoming = IncomingMessages(request, encoding: encoding, takesEnd: false)
        outgoing = OutgoingMessages(patience: patience)
    }

    /// The body of the answer. Whoever lets go of it, or is cancelled while it reads, has cut the stream.
    package func makeAnswer(onEnd: @escaping @Sendable () -> Void = {}) -> any ByteSource {
        Answer(of: self, onEnd: onEnd)
    }

    package func receive() async throws -> [UInt8]? {
        let message: IncomingMessages.Message?
        do {
            message = try await reading.run { [incoming] in try await incoming.next() }
        } catch let failure as BackupFailure {
            // Of the carrier: the session must not take it for a failure of this server.
            throw StreamLost(description: failure.summary)
        }
        guard case .message(let bytes)? = message else { return nil }
        return bytes
    }

    package func send(_ item: [UInt8]) async throws { try await outgoing.send(item) }

    package func trust() {
        incoming.limit = EnvelopeReader.limitOfPeers
        onTrust()
    }

    package func close() {
        reading.close()
        outgoing.cut()
    }

    /// Sends what waits, and behind it how the stream ends; nothing more is received.
    package func end(_ end: StreamEnd) {
        outgoing.finish(with: end.encoded)
        reading.close()
    }

    private final class Answer: ByteSource {
        private let stream: ConnectServerStream
        private let onEnd: @Sendable () -> Void

        init(of stream: ConnectServerStream, onEnd: @escaping @Sendable () -> Void) {
            self.stream = stream
            self.onEnd = onEnd
        }

        deinit {
            stream.close()
            onEnd()
        }

        func read(upTo maxBytes: Int) async throws -> [UInt8]? {
            do {
                return try await stream.outgoing.read(upTo: maxBytes)
            } catch {
                stream.close()
                throw error
            }
        }
    }
}

/// The stream is gone: broken off by the other side, or with its connection.
struct StreamLost: Error, CustomStringConvertible {
    let description: String
}

/// Reads that ``close()`` ends from anywhere, also while they wait.
final class CancellableRead: Sendable {
    private struct State {
        var isClosed = false
        var running: Task<IncomingMessages.Message?, any Error>?
    }
    private let state = Mutex(State())

    func run(
        _ body: @escaping @Sendable () async throws -> IncomingMessages.Message?
    ) async throws -> IncomingMessages.Message? {
        let task = try state.withLock { state in
            guard !state.isClosed else { throw CancellationError() }
            let task = Task { try await body() }
            state.running = task
            return task
        }
        defer { state.withLock { $0.running = nil } }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            return state.running
        }?.cancel()
    }
}
