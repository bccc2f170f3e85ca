import BackupFormats
import PeerSyncProtocol
import Synchronization

/// The logs of a member that are being read through its session. (Spec: backrest-sync §5.8.)
final class LogRequests: Sendable {
    /// Logs that one session carries at once.
    private static let maxCount = 16
    /// Chunks that wait for a slow reader; then its log ends.
    private static let maxWaiting = 64

    private typealias Reader = AsyncThrowingStream<[UInt8], any Error>.Continuation
    private struct State {
        /// By the id that was asked for. Nil: the reader has gone, and the rest is thrown away.
        var readers: [String: Reader?] = [:]
        var lastNumber = 0
        var isOver = false
    }
    private let state = Mutex(State())

    /// - Parameter request: Sends the request with the id that it is given.
    /// - Throws: ``BackupFailure`` of kind `unavailable` where too many logs are read already, or the session ended.
    func open(
        _ logID: String, request: (String) throws -> Void
    ) throws -> AsyncThrowingStream<[UInt8], any Error> {
        let (stream, reader) = AsyncThrowingStream.makeStream(
            of: [UInt8].self, bufferingPolicy: .bufferingOldest(Self.maxWaiting))
        let id = try state.withLock { state in
            guard !state.isOver else { throw BackupFailure(.unavailable, "the member is not connected any more") }
            guard state.readers.count < Self.maxCount else {
                throw BackupFailure(.unavailable, "\(Self.maxCount) logs of this member are being read already")
            }
            var id = logID
            if state.readers[id] != nil {
                // The same log for a second reader: the number tells the answers apart.
                state.lastNumber += 1
                id = "\(logID)#\(state.lastNumber)"
            }
            state.readers.updateValue(reader, forKey: id)
            return id
        }
        reader.onTermination = { [weak self] termination in
            guard case .cancelled = termination else { return }
            self?.state.withLock { state in
                if state.readers[id] != nil { state.readers.updateValue(nil, forKey: id) }
            }
        }
        do { try request(id) } catch {
            state.withLock { _ = $0.readers.removeValue(forKey: id) }
            throw error
        }
        return stream
    }

    /// A piece of a log; one that nobody asked for is thrown away.
    func take(_ data: WireSyncStreamItem.SyncActionReceiveLogData) {
        let isEnd = data.chunk.isEmpty || !data.errorMessage.isEmpty
        let reader = state.withLock { state -> Reader? in
            defer { if isEnd { state.readers.removeValue(forKey: data.logID) } }
            return state.readers[data.logID] ?? nil
        }
        guard let reader else { return }
        if !data.chunk.isEmpty, case .dropped = reader.yield(Array(data.chunk)) {
            reader.finish(throwing: BackupFailure(.unavailable, "the log came faster than it was read"))
            state.withLock { state in
                if state.readers[data.logID] != nil { state.readers.updateValue(nil, forKey: data.logID) }
            }
            return
        }
        guard isEnd else { return }
        if data.errorMessage.isEmpty {
            reader.finish()
        } else {
            let text = String(decoding: data.errorMessage.utf8.prefix(1024), as: UTF8.self)
            reader.finish(throwing: BackupFailure(.unavailable, "the member cannot show the log: \(text)"))
        }
    }

    func end(_ reason: String) {
        let readers = state.withLock { state in
            state.isOver = true
            defer { state.readers = [:] }
            return state.readers.values.compactMap { $0 }
        }
        for reader in readers { reader.finish(throwing: BackupFailure(.unavailable, reason)) }
    }
}
