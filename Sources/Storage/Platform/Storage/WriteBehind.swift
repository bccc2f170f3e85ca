import Synchronization

/// Sends files to the disk as soon as they are written, and lets them leave the page cache soon after.
///
/// Backup and restore write far more than is read again soon. Left alone, it fills the memory of the machine, pushes
/// out what others use, and waits there until the kernel throttles everybody or a sync takes minutes. Besides, a fresh
/// page of the cache may cost several times the copy into one that was used a moment before.
package final class WriteBehind: Sendable {
    /// Parts that the kernel may still be writing when they are asked to leave; files stay open so long.
    private static let partLimit = 16

    private struct Part {
        var file: OpenFile
        var offset: Int
        var count: Int

        func drop() { file.dropFromCache(at: offset, count: count) }
    }

    private struct State {
        var parts: [Part?] = Array(repeating: nil, count: WriteBehind.partLimit)
        var next = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Takes a part of a file that has just been written.
    ///
    /// - Parameter count: Bytes from `offset`; 0 means up to the end.
    package func add(_ file: OpenFile, at offset: Int = 0, count: Int = 0) {
        file.startWriting(at: offset, count: count)
        let oldest = state.withLock { state in
            defer { state.next = (state.next + 1) % Self.partLimit }
            let oldest = state.parts[state.next]
            state.parts[state.next] = Part(file: file, offset: offset, count: count)
            return oldest
        }
        oldest?.drop()
    }

    /// Lets go of all files. To be called when nobody writes for a while.
    package func release() {
        let parts = state.withLock { state in
            defer { state = State() }
            return state.parts
        }
        for part in parts { part?.drop() }
    }
}
