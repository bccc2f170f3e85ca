package import BackupFormats
import Synchronization

/// All in-use sets of a store. Sets of sessions that end while a collection runs stay until it has ended, since their
/// snapshots may have been published behind its walk. (Design decision 4.)
package final class PinBoard: Sendable {
    private struct State {
        var active: [ObjectIdentifier: InUseSet] = [:]
        var ended: [InUseSet] = []
        var collections = 0
    }

    private let state = Mutex(State())

    func makeSet() -> InUseSet {
        let set = InUseSet()
        state.withLock { $0.active[ObjectIdentifier(set)] = set }
        return set
    }

    /// Takes a set off the board, at once or when the running collection has ended.
    func end(_ set: InUseSet) {
        state.withLock { state in
            guard state.active.removeValue(forKey: ObjectIdentifier(set)) != nil else { return }
            if state.collections > 0 { state.ended.append(set) }
        }
    }

    /// From now on sets that end are kept, until ``endCollection()``.
    package func beginCollection() { state.withLock { $0.collections += 1 } }

    package func endCollection() {
        state.withLock { state in
            state.collections -= 1
            if state.collections == 0 { state.ended = [] }
        }
    }

    /// Whether a session relies on the chunk. A sweep asks it under the chunk's prefix lock.
    package func isPinned(_ digest: ChunkDigest) -> Bool {
        let sets = state.withLock { Array($0.active.values) + $0.ended }
        return sets.contains { $0.contains(digest) }
    }
}
