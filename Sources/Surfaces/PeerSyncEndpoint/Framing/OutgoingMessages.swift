import BackupFormats
import PeerSync
import PeerSyncProtocol
import Synchronization
import Tasks

/// The messages of one direction of a Connect stream that wait to be sent: put in by a session, taken out as bytes by
/// whoever carries them. One writer, one reader.
///
/// At most ``maxWaiting`` messages, and about ``maxWaitingBytes``, wait; whoever adds another waits for room.
package final class OutgoingMessages: ByteSource {
    package static let maxWaiting = 256
    package static let maxWaitingBytes = 256 << 10

    private enum Phase {
        case open
        /// Nothing is added; what waits is still sent.
        case finished
        case cut
    }

    private struct State {
        var phase = Phase.open
        var waiting: [ArraySlice<UInt8>] = []
        var waitingBytes = 0
        /// Bytes that were taken out.
        var taken: UInt64 = 0

        var isFull: Bool { waiting.count >= maxWaiting || waitingBytes >= maxWaitingBytes }

        mutating func append(_ envelope: Envelope) {
            let bytes = envelope.encoded
            waiting.append(bytes[...])
            waitingBytes += bytes.count
        }

        mutating func take(_ limit: Int) -> [UInt8] {
            var bytes: [UInt8] = []
            var used = 0
            while used < waiting.count, bytes.count < limit {
                let part = waiting[used].prefix(limit - bytes.count)
                bytes += part
                waiting[used] = waiting[used].dropFirst(part.count)
                if waiting[used].isEmpty { used += 1 }
            }
            waiting.removeFirst(used)
            waitingBytes -= bytes.count
            taken += UInt64(bytes.count)
            return bytes
        }
    }

    private let patience: Duration
    private let state = Mutex(State())
    private let room = Waiters()
    private let more = Waiters()

    /// - Parameter patience: How long the other side may take nothing while the queue is full.
    package init(patience: Duration = PeerLimits.sendPatience) { self.patience = patience }

    /// Adds a message when there is room for it.
    ///
    /// - Throws: ``PeerSyncFailure`` where the stream is over, or nothing was taken for so long; it is cut then.
    package func send(_ message: [UInt8]) async throws {
        while true {
            try Task.checkCancellation()
            let before = try state.withLock { state -> UInt64? in
                guard case .open = state.phase else { throw Self.isOver }
                if state.isFull { return state.taken }
                state.append(Envelope(payload: message))
                return nil
            }
            guard let before else { return more.wakeAll() }
            await room.wait(atMost: patience) { self.mayGoOn }
            try Task.checkCancellation()
            let isStuck = state.withLock { state in
                if case .open = state.phase { state.isFull && state.taken == before } else { false }
            }
            guard !isStuck else {
                cut()
                throw PeerSyncFailure(.internalFault, "the other side has taken nothing for \(patience)")
            }
        }
    }

    /// Adds what ends the stream, room or not, and nothing afterwards.
    package func finish(with end: [UInt8]? = nil) {
        state.withLock { state in
            guard case .open = state.phase else { return }
            if let end { state.append(Envelope(payload: end, isEnd: true)) }
            state.phase = .finished
        }
        room.wakeAll()
        more.wakeAll()
    }

    /// Forgets what waits: both sides throw from now on.
    package func cut() {
        state.withLock { state in
            state.phase = .cut
            state.waiting = []
            state.waitingBytes = 0
        }
        room.wakeAll()
        more.wakeAll()
    }

    /// The next bytes that are to be sent; nil behind the last.
    ///
    /// - Throws: ``PeerSyncFailure`` where the stream was cut.
    package func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        while true {
            try Task.checkCancellation()
            let (bytes, isDone) = try state.withLock { state in
                if case .cut = state.phase { throw Self.isOver }
                if case .finished = state.phase, state.waiting.isEmpty { return ([UInt8](), true) }
                return (state.take(maxBytes), false)
            }
            if isDone { return nil }
            if !bytes.isEmpty {
                room.wakeAll()
                return bytes
            }
            await more.wait(atMost: nil) { self.hasNews }
        }
    }

    private var mayGoOn: Bool {
        state.withLock { state in
            if case .open = state.phase { !state.isFull } else { true }
        }
    }

    private var hasNews: Bool {
        state.withLock { state in
            if case .open = state.phase { !state.waiting.isEmpty } else { true }
        }
    }

    private static var isOver: PeerSyncFailure { PeerSyncFailure(.internalFault, "the stream is over") }
}
