import BackupFormats
import Synchronization

/// Whether garbage of a store is being collected, and what came of it last.
final class CollectionBoard: Sendable {
    private struct State {
        var isRunning = false
        var isClosed = false
        var last: CollectionStatus?
    }

    private let state = Mutex(State())

    /// The figures of a run of this process; they are kept even where the disk had no room for them.
    var last: CollectionStatus? { state.withLock { $0.last } }

    func note(_ status: CollectionStatus) { state.withLock { $0.last = status } }

    /// - Throws: ``BackupFailure`` of kind `conflict` while one runs, or when the store has been closed.
    func begin(_ store: String) throws {
        try state.withLock { state throws(BackupFailure) in
            if state.isClosed { throw BackupFailure(.conflict, "Datastore \(store) is closed") }
            if state.isRunning {
                throw BackupFailure(.conflict, "Garbage of datastore \(store) is being collected already")
            }
            state.isRunning = true
        }
    }

    func end() { state.withLock { $0.isRunning = false } }

    /// From now on none begins.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while one runs.
    func close(_ store: String) throws {
        try state.withLock { state throws(BackupFailure) in
            if state.isRunning {
                throw BackupFailure(.conflict, "Garbage of datastore \(store) is being collected")
            }
            state.isClosed = true
        }
    }

    /// Takes back ``close(_:)``.
    func reopen() { state.withLock { $0.isClosed = false } }
}

/// The right to collect garbage of a store, for one run. It is given up by ``release()`` or when the value goes.
package final class CollectionLease: Sendable {
    let store: Datastore
    private let isHeld = Atomic(true)

    fileprivate init(_ store: Datastore) {
        self.store = store
    }

    /// The second call does nothing.
    package func release() {
        guard isHeld.exchange(false, ordering: .acquiringAndReleasing) else { return }
        store.endExclusiveUse()
        store.chunks.pins.endCollection()
        store.collections.end()
    }

    deinit { release() }
}

extension Datastore {
    /// Reserves the store for one garbage collection; sessions go on. Where another server uses the store just now it
    /// is refused: what that one relies on is not known here. (Spec: formats §9.7.)
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while a collection runs, another server uses the store, or it is
    ///   open for reading only.
    package func reserveCollection() throws -> CollectionLease {
        try requireWritable()
        try collections.begin(name)
        do { try beginExclusiveUse() } catch {
            collections.end()
            throw error
        }
        // Before the first index is looked for: what is published behind the walk's back stays pinned.
        chunks.pins.beginCollection()
        return CollectionLease(self)
    }
}
