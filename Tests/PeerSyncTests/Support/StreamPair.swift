import PeerSync
import PeerSyncProtocol
import Synchronization

/// The two ends of a stream of outer items, in memory. What one end sends the other receives, in order.
struct StreamPair {
    let member: MemoryStream
    let hub: MemoryStream

    /// - Parameter capacity: Items that one end takes before the other has received them.
    init(capacity: Int = 64, address: String = "192.0.2.1") {
        let upward = ItemPipe(capacity: capacity)
        let downward = ItemPipe(capacity: capacity)
        member = MemoryStream(incoming: downward, outgoing: upward, peerAddress: "192.0.2.254")
        hub = MemoryStream(incoming: upward, outgoing: downward, peerAddress: address)
    }
}

/// One end of a ``StreamPair``.
final class MemoryStream: PeerStream {
    struct Cut: Error {}

    let peerAddress: String
    private let incoming: ItemPipe
    private let outgoing: ItemPipe
    private let trusted = Atomic(false)

    fileprivate init(incoming: ItemPipe, outgoing: ItemPipe, peerAddress: String) {
        self.incoming = incoming
        self.outgoing = outgoing
        self.peerAddress = peerAddress
    }

    /// Whether ``trust()`` was called.
    var isTrusted: Bool { trusted.load(ordering: .relaxed) }

    func receive() async throws -> [UInt8]? { try await incoming.receive() }
    func send(_ item: [UInt8]) async throws { try await outgoing.send(item) }
    func trust() { trusted.store(true, ordering: .relaxed) }

    func close() {
        incoming.end(.failure(Cut()))
        outgoing.end(.failure(Cut()))
    }

    /// The member's half close: the hub receives nil after what was sent before.
    func finish() { outgoing.end(.success(())) }

    /// The hub's end of the stream: the member receives what was sent before, then `end` is thrown; it sends no more.
    func end(_ end: StreamEnd) {
        outgoing.end(.failure(end))
        incoming.end(.failure(Cut()))
    }
}

/// One direction.
private final class ItemPipe: Sendable {
    private struct State {
        var items: [[UInt8]] = []
        var end: Result<Void, any Error>?
        var reader: CheckedContinuation<Void, Never>?
        var writers: [CheckedContinuation<Void, Never>] = []

        /// Those who are to look again.
        mutating func wakeAll() -> [CheckedContinuation<Void, Never>] {
            defer { (reader, writers) = (nil, []) }
            return writers + (reader.map { [$0] } ?? [])
        }
    }
    private let state = Mutex(State())
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    func receive() async throws -> [UInt8]? {
        while true {
            let (found, woken) = state.withLock {
                state -> (Result<[UInt8]?, any Error>?, [CheckedContinuation<Void, Never>]) in
                if case .failure(let error as MemoryStream.Cut)? = state.end { return (.failure(error), []) }
                if !state.items.isEmpty { return (.success(state.items.removeFirst()), state.wakeAll()) }
                return (state.end?.map { nil }, [])
            }
            for continuation in woken { continuation.resume() }
            if let found { return try found.get() }
            try await wait {
                !$0.items.isEmpty || $0.end != nil
            } store: {
                $0.reader = $1
            }
        }
    }

    func send(_ item: [UInt8]) async throws {
        while true {
            let (isDone, woken) = try state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
                guard state.end == nil else { throw MemoryStream.Cut() }
                guard state.items.count < capacity else { return (false, []) }
                state.items.append(item)
                return (true, state.wakeAll())
            }
            for continuation in woken { continuation.resume() }
            if isDone { return }
            try await wait { [capacity] in
                $0.items.count < capacity || $0.end != nil
            } store: {
                $0.writers.append($1)
            }
        }
    }

    /// The first end counts.
    func end(_ result: Result<Void, any Error>) {
        let woken = state.withLock { state in
            if state.end == nil { state.end = result }
            return state.wakeAll()
        }
        for continuation in woken { continuation.resume() }
    }

    /// Until something has changed, or the task is cancelled.
    private func wait(
        unless isReady: @Sendable (State) -> Bool,
        store: @Sendable (inout State, CheckedContinuation<Void, Never>) -> Void
    ) async throws {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    if isReady(state) || Task.isCancelled { return true }
                    store(&state, continuation)
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            for continuation in state.withLock({ $0.wakeAll() }) { continuation.resume() }
        }
        try Task.checkCancellation()
    }
}
