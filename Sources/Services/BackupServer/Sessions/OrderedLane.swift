import Synchronization

/// Runs operations one after the other, in the order in which they were added. A connection's limit of calls bounds it.
final class OrderedLane: Sendable {
    private let last = Mutex<Task<Void, Never>?>(nil)

    /// Adds an operation; the task that comes back ends with it.
    ///
    /// The task is unstructured, since the place in the order is taken when a call arrives, not when somebody waits
    /// for its answer. It ends when its operation does, and each operation ends.
    func add<Value: Sendable>(_ operation: @escaping @Sendable () async -> Value) -> Task<Value, Never> {
        last.withLock { last in
            let before = last
            let task = Task {
                await before?.value
                return await operation()
            }
            last = Task { _ = await task.value }
            return task
        }
    }
}
