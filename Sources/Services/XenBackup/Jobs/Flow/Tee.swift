import Synchronization

/// Hands what one source gives to several readers, each at its own speed.
///
/// At most `depth` items wait for the slowest reader; the writer waits meanwhile. A reader that gives up is left out from
/// then on. Items are shared, not copied.
final class Tee<Item: Sendable>: Sendable {
    private struct Branch {
        /// Items that wait, the oldest first.
        var items: [Item] = []
        var isDropped = false
        var reader: Latch<Void>?
    }

    private struct State {
        var branches: [Branch]
        var end: Result<Void, any Error>?
        var writer: Latch<Void>?

        var isAbandoned: Bool { branches.allSatisfy(\.isDropped) }
        func hasRoom(_ depth: Int) -> Bool { branches.allSatisfy { $0.isDropped || $0.items.count < depth } }

        mutating func wakeWriter() -> Latch<Void>? {
            defer { writer = nil }
            return writer
        }
    }

    private enum WriterStep {
        case abandoned
        case sent([Latch<Void>])
        case wait(Latch<Void>)
    }

    private enum ReaderStep {
        case item(Item, Latch<Void>?)
        case end(Result<Void, any Error>)
        case wait(Latch<Void>)
    }

    private let depth: Int
    private let state: Mutex<State>

    init(readers: Int, depth: Int) {
        precondition(depth > 0, "a queue without room never moves")
        self.depth = depth
        state = Mutex(State(branches: Array(repeating: Branch(), count: readers)))
    }

    /// Gives one item to all readers that are left.
    ///
    /// - Returns: False where none is left.
    /// - Throws: `CancellationError` where the task is cancelled while it waits for the slowest reader.
    func send(_ item: Item) async throws -> Bool {
        while true {
            try Task.checkCancellation()
            let step = state.withLock { state -> WriterStep in
                if state.isAbandoned { return .abandoned }
                guard state.hasRoom(depth) else {
                    let turn = Latch<Void>()
                    state.writer = turn
                    return .wait(turn)
                }
                var readers: [Latch<Void>] = []
                for index in state.branches.indices where !state.branches[index].isDropped {
                    state.branches[index].items.append(item)
                    if let reader = state.branches[index].reader { readers.append(reader) }
                    state.branches[index].reader = nil
                }
                return .sent(readers)
            }
            switch step {
            case .abandoned: return false
            case .sent(let readers):
                for reader in readers { reader.succeed(()) }
                return true
            case .wait(let turn): try await turn.value()
            }
        }
    }

    /// Says that no more items come: readers get what waits, then the end or this error. Only the first call counts.
    func finish(_ result: Result<Void, any Error>) {
        let readers = state.withLock { state -> [Latch<Void>] in
            guard state.end == nil else { return [] }
            state.end = result
            defer { for index in state.branches.indices { state.branches[index].reader = nil } }
            return state.branches.compactMap(\.reader)
        }
        for reader in readers { reader.succeed(()) }
    }

    /// The next item of a reader; nil at the end.
    func next(_ reader: Int) async throws -> Item? {
        while true {
            try Task.checkCancellation()
            let step = state.withLock { state -> ReaderStep in
                if state.branches[reader].isDropped { return .end(.failure(CancellationError())) }
                // A source that failed takes what waits with it.
                if case .failure(let error)? = state.end { return .end(.failure(error)) }
                if !state.branches[reader].items.isEmpty {
                    let item = state.branches[reader].items.removeFirst()
                    return .item(item, state.hasRoom(depth) ? state.wakeWriter() : nil)
                }
                if let end = state.end { return .end(end) }
                let turn = Latch<Void>()
                state.branches[reader].reader = turn
                return .wait(turn)
            }
            switch step {
            case .item(let item, let writer):
                writer?.succeed(())
                return item
            case .end(let result):
                try result.get()
                return nil
            case .wait(let turn): try await turn.value()
            }
        }
    }

    /// Leaves a reader out from now on.
    func drop(_ reader: Int) {
        let (writer, waiting) = state.withLock { state in
            state.branches[reader].isDropped = true
            state.branches[reader].items = []
            defer { state.branches[reader].reader = nil }
            return (state.hasRoom(depth) ? state.wakeWriter() : nil, state.branches[reader].reader)
        }
        writer?.succeed(())
        waiting?.succeed(())
    }

    /// Whether all readers gave up.
    var isAbandoned: Bool { state.withLock { $0.isAbandoned } }
}
