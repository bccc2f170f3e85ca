package import Datastore
import Synchronization

/// Long work on a datastore that is neither a session nor a reader: while it lasts, the store is not closed, taken offline
/// or removed.
package final class DatastoreUse: Sendable {
    struct Note: Sendable {
        let operation: DatastoreRegistry.Operation
        /// In the words of a failure: "prune task UPID:…".
        let user: String
    }

    package let store: Datastore
    private let atEnd: Mutex<(@Sendable (DatastoreUse) -> Void)?>

    init(_ store: Datastore, atEnd: @escaping @Sendable (DatastoreUse) -> Void) {
        self.store = store
        self.atEnd = Mutex(atEnd)
    }

    /// The second call does nothing.
    package func end() {
        let atEnd = atEnd.withLock { $0.take() }
        atEnd?(self)
    }
}

extension DatastoreRegistry {
    /// An open datastore for work that takes its time; the caller calls ``DatastoreUse/end()``.
    ///
    /// - Parameter user: Who uses it, in the words of a failure: "prune task UPID:…".
    /// - Throws: What ``datastore(_:for:)`` throws; `conflict` while the store is being closed.
    package func use(_ name: String, for operation: Operation, by user: String) throws -> DatastoreUse {
        let store = try datastore(name, for: operation)
        let use = DatastoreUse(store) { [weak self] use in self?.forget(use, of: name) }
        try note(use, DatastoreUse.Note(operation: operation, user: user), of: name)
        return use
    }
}
