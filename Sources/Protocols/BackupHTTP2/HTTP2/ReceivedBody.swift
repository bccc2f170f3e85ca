import BackupFormats
import BackupProtocol
import NIOConcurrencyHelpers
import NIOCore

/// A body on its way from the event loop to its reader, of which there is one.
///
/// The connection stops asking the other side for more while too much is unread. A reader that drops
/// the body of an answer before its end cancels the request.
final class ReceivedBody: ByteSource {
    private struct State {
        var pieces = CircularBuffer<ByteBuffer>()
        /// What has come, in a compact body.
        var joined = ByteBuffer()
        var unread = 0
        var end: Result<Void, any Error>?
        var reader: CheckedContinuation<Void, Never>?
        var onConsumed: @Sendable () -> Void = {}
        var onDropped: @Sendable () -> Void = {}
    }

    /// Memory that an empty compact body may keep.
    private static let keptCapacity = 4 * 1024

    private let isCompact: Bool
    private let state = NIOLockedValueBox(State())

    /// - Parameter isCompact: Copies what comes into one buffer. Pieces as they come each keep the whole buffer that was
    ///   read from the network, so that many small ones that wait cost many times their bytes.
    init(isCompact: Bool = false) { self.isCompact = isCompact }

    deinit {
        let onDropped = state.withLockedValue { $0.end == nil ? $0.onDropped : {} }
        onDropped()
    }

    /// - Parameters:
    ///   - onConsumed: Called on any thread when the reader has taken bytes.
    ///   - onDropped: Called on any thread when nobody can read the rest any more.
    func observe(onConsumed: @escaping @Sendable () -> Void, onDropped: @escaping @Sendable () -> Void) {
        state.withLockedValue {
            $0.onConsumed = onConsumed
            $0.onDropped = onDropped
        }
    }

    var unreadBytes: Int { state.withLockedValue { $0.unread } }

    func append(_ piece: ByteBuffer) {
        wake { state in
            guard state.end == nil, piece.readableBytes > 0 else { return }
            if isCompact { state.joined.writeImmutableBuffer(piece) } else { state.pieces.append(piece) }
            state.unread += piece.readableBytes
        }
    }

    func finish() { wake { $0.end = $0.end ?? .success(()) } }

    func fail(_ error: any Error) { wake { $0.end = $0.end ?? .failure(error) } }

    private func wake(_ change: (inout State) -> Void) {
        let reader = state.withLockedValue { state in
            change(&state)
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        while true {
            try Task.checkCancellation()
            let (bytes, end, onConsumed) = state.withLockedValue { state in
                (takeBytes(upTo: maxBytes, from: &state), state.end, state.onConsumed)
            }
            if let bytes {
                onConsumed()
                return bytes
            }
            if let end {
                try end.get()
                return nil
            }
            await waitForMore()
        }
    }

    private func takeBytes(upTo maxBytes: Int, from state: inout State) -> [UInt8]? {
        guard state.unread > 0 else { return nil }
        if isCompact { return Self.takeJoined(upTo: maxBytes, from: &state) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(maxBytes, state.unread))
        while bytes.count < maxBytes, var piece = state.pieces.popFirst() {
            if let part = piece.readSlice(length: min(piece.readableBytes, maxBytes - bytes.count)) {
                part.withUnsafeReadableBytes { bytes.append(contentsOf: $0) }
            }
            if piece.readableBytes > 0 { state.pieces.prepend(piece) }
        }
        state.unread -= bytes.count
        return bytes
    }

    private static func takeJoined(upTo maxBytes: Int, from state: inout State) -> [UInt8]? {
        let bytes = state.joined.readBytes(length: min(maxBytes, state.unread))
        state.unread = state.joined.readableBytes
        if state.unread > 0 {
            state.joined.discardReadBytes()
        } else if state.joined.capacity > keptCapacity {
            state.joined = ByteBuffer()
        } else {
            state.joined.clear()
        }
        return bytes
    }

    private func waitForMore() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLockedValue { state in
                    if state.unread > 0 || state.end != nil || Task.isCancelled { return true }
                    state.reader = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            wake { _ in }
        }
    }
}
