import NIOCore
import Synchronization

/// A bounded queue of bytes between one writer and one reader, which also knows for how long nothing came or went.
final class BytePipe: Sendable {
    private struct State {
        var pieces = CircularBuffer<ByteBuffer>()
        var byteCount = 0
        var end: Result<Void, any Error>?
        var isAbandoned = false
        var reader: CheckedContinuation<Void, Never>?
        var writer: CheckedContinuation<Void, Never>?
        var isWriterWaiting = false
        var isReaderWaiting = false
        var hasStarted = false
        var lastWrite = ContinuousClock.now
        var lastRead = ContinuousClock.now
    }

    private let limit: Int
    private let state = Mutex(State())

    /// - Parameter limit: The writer waits while this many bytes are in the queue.
    init(limit: Int) { self.limit = limit }

    // MARK: Writer

    /// Adds a piece, and waits until there is room for the next.
    ///
    /// - Throws: `CancellationError` where the reader has gone.
    func write(_ piece: ByteBuffer) async throws {
        guard piece.readableBytes > 0 else { return }
        let (reader, isAbandoned) = state.withLock { state -> (CheckedContinuation<Void, Never>?, Bool) in
            guard !state.isAbandoned, state.end == nil else { return (nil, true) }
            state.pieces.append(piece)
            state.byteCount += piece.readableBytes
            state.lastWrite = .now
            return (state.reader.take(), false)
        }
        reader?.resume()
        guard !isAbandoned else { throw CancellationError() }
        while try state.withLock({ state in
            guard !state.isAbandoned else { throw CancellationError() }
            state.isWriterWaiting = state.byteCount >= limit
            return state.isWriterWaiting
        }) {
            await wait(\.writer) { !$0.isAbandoned && $0.byteCount >= self.limit }
            try Task.checkCancellation()
        }
    }

    /// Something has come, though it may not be written yet.
    func arrived() {
        state.withLock { state in
            state.hasStarted = true
            state.lastWrite = .now
        }
    }

    var hasStarted: Bool { state.withLock { $0.hasStarted } }

    /// After the last piece; with what went wrong, if anything. Only the first call counts.
    func end(_ error: (any Error)? = nil) {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.end == nil { state.end = error.map { .failure($0) } ?? .success(()) }
            return state.reader.take()
        }
        reader?.resume()
    }

    // MARK: Reader

    /// At least one byte and at most `maxBytes`, copied; nil at the end.
    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        try await next { state in
            let count = min(maxBytes, state.byteCount)
            state.byteCount -= count
            return [UInt8](unsafeUninitializedCapacity: count) { target, filled in
                while filled < count, var piece = state.pieces.popFirst() {
                    let part = min(piece.readableBytes, count - filled)
                    piece.withUnsafeReadableBytes { bytes in
                        UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(target)[filled...])
                            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<part]))
                    }
                    filled += part
                    piece.moveReaderIndex(forwardBy: part)
                    if piece.readableBytes > 0 { state.pieces.prepend(piece) }
                }
            }
        }
    }

    /// The next piece as it was written; nil at the end.
    func readPiece() async throws -> ByteBuffer? {
        try await next { state in
            let piece = state.pieces.popFirst()
            state.byteCount -= piece?.readableBytes ?? 0
            return piece
        }
    }

    /// The reader goes away: the writer is told at its next piece.
    func abandon() {
        let waiting = state.withLock { state in
            state.isAbandoned = true
            state.pieces.removeAll()
            state.byteCount = 0
            return [state.reader.take(), state.writer.take()]
        }
        for waiter in waiting { waiter?.resume() }
    }

    /// For how long nothing came although there was room; zero while the reader is the slow one.
    var writerIdle: Duration {
        state.withLock { $0.isWriterWaiting || $0.end != nil ? .zero : $0.lastWrite.duration(to: .now) }
    }

    /// For how long nothing was taken although there was something; zero while the writer is the slow one.
    var readerIdle: Duration {
        state.withLock { $0.isReaderWaiting ? .zero : $0.lastRead.duration(to: .now) }
    }

    private func next<Value: Sendable>(_ take: (inout State) -> Value?) async throws -> Value? {
        while true {
            let (found, isAtEnd, writer) = try state.withLock { state in
                state.lastRead = .now
                if state.byteCount > 0 {
                    let value = take(&state)
                    state.isReaderWaiting = false
                    let isRoom = state.byteCount < limit
                    if isRoom, state.isWriterWaiting {
                        state.isWriterWaiting = false
                        state.lastWrite = .now
                    }
                    return (value, false, isRoom ? state.writer.take() : nil)
                }
                if state.isAbandoned { throw CancellationError() }
                if let end = state.end {
                    try end.get()
                    return (nil, true, nil)
                }
                state.isReaderWaiting = true
                return (nil, false, nil)
            }
            writer?.resume()
            if let found { return found }
            if isAtEnd { return nil }
            try Task.checkCancellation()
            await wait(\.reader) { $0.byteCount == 0 && $0.end == nil && !$0.isAbandoned }
        }
    }

    /// Waits until the other side resumes the continuation, or the Swift task is cancelled.
    private func wait(
        _ place: any WritableKeyPath<State, CheckedContinuation<Void, Never>?> & Sendable,
        while mustWait: @Sendable (borrowing State) -> Bool
    ) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard mustWait(state), !Task.isCancelled else { return true }
                    state[keyPath: place] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0[keyPath: place].take() }?.resume()
        }
    }
}
