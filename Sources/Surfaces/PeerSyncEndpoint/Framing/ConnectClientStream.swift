package import BackupFormats
import PeerSync
import PeerSyncProtocol
import Synchronization

/// A stream that was opened at a hub: our request is the one direction, its answer the other.
package final class ConnectClientStream: PeerStream {
    /// What the head of the answer says, and its body while it comes.
    package typealias Answer = (body: any ByteSource, encoding: MessageEncoding)

    private static let pieceBytes = 64 << 10

    package let peerAddress: String
    private let answer: @Sendable () async throws -> Answer
    private let reset: @Sendable () -> Void
    private let outgoing: OutgoingMessages
    private let reading = CancellableRead()
    private let pump: Task<Void, Never>

    private struct State {
        var incoming: IncomingMessages?
        var limit = EnvelopeReader.limitOfStrangers
    }
    private let state = Mutex(State())

    /// - Parameters:
    ///   - answer: Waits for the head of the answer and judges it; asked once, at the first ``receive()``. A hub may send
    ///     it only when the first item has come.
    ///   - write: Sends bytes of the request; returns when there is room for more.
    ///   - reset: Resets the stream at once; may be called more than once.
    package init(
        peerAddress: String, patience: Duration = PeerLimits.sendPatience,
        answer: @escaping @Sendable () async throws -> Answer,
        write: @escaping @Sendable ([UInt8]) async throws -> Void, reset: @escaping @Sendable () -> Void
    ) {
        self.peerAddress = peerAddress
        self.answer = answer
        self.reset = reset
        let outgoing = OutgoingMessages(patience: patience)
        self.outgoing = outgoing
        pump = Task {
            do {
                while let piece = try await outgoing.read(upTo: Self.pieceBytes) { try await write(piece) }
            } catch {
                outgoing.cut()
                reset()
            }
        }
    }

    deinit { close() }

    package func receive() async throws -> [UInt8]? {
        let message = try await reading.run { [self] in
            let incoming = try await incoming()
            return try await incoming.next()
        }
        switch message {
        case .message(let bytes): return bytes
        case .end(let bytes): throw try StreamEnd(parsing: bytes)
        case nil: throw PeerSyncFailure(.protocolError, "the answer stops without an end")
        }
    }

    private func incoming() async throws -> IncomingMessages {
        if let known = state.withLock({ $0.incoming }) { return known }
        let (body, encoding) = try await answer()
        return state.withLock { state in
            let incoming = IncomingMessages(body, encoding: encoding, takesEnd: true, limit: state.limit)
            state.incoming = incoming
            return incoming
        }
    }

    package func send(_ item: [UInt8]) async throws { try await outgoing.send(item) }

    package func trust() {
        state.withLock { state in
            state.limit = EnvelopeReader.limitOfPeers
            state.incoming?.limit = EnvelopeReader.limitOfPeers
        }
    }

    package func close() {
        reading.close()
        outgoing.cut()
        pump.cancel()
        reset()
    }
}
