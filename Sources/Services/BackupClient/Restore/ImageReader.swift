package import BackupFormats
import Synchronization

/// An image of a snapshot that is read chunk by chunk at any place, by several readers at once. Who reads forward finds
/// the next chunks fetched.
package final class ImageReader: Sendable {
    /// Chunks that are fetched before they are asked for.
    static let aheadCount = 4
    /// Chunks that are kept for those who read forward, on their way or read: 24 MiB.
    static let keptCount = 6

    private struct Slot: Sendable {
        /// Ends with the chunk; cancelled when nobody can ask for it any more.
        let content: Task<[UInt8], any Error>
        var lastUse: Int
        /// Who waits for it just now; such a slot is not given up.
        var readers = 0
    }

    private struct State: Sendable {
        var slots: [Int: Slot] = [:]
        var useCount = 0
        var lastPlace = -1
    }

    /// Whose threads decode; they live as long as this.
    private let download: SnapshotDownload
    private let list: ChunkList
    private let fetcher: ChunkFetcher
    private let keptCount: Int
    private let state = Mutex(State())

    init(_ list: ChunkList, _ fetcher: ChunkFetcher, of download: SnapshotDownload, keptCount: Int) {
        self.keptCount = keptCount
        self.download = download
        self.list = list
        self.fetcher = fetcher
    }

    deinit { for slot in state.withLock({ $0.slots.values }) { slot.content.cancel() } }

    /// Bytes of the image.
    package var size: UInt64 { list.size }
    package var chunkCount: Int { list.count }
    package var checksum: ChunkDigest { list.checksum }

    package func digest(at place: Int) -> ChunkDigest { list.digest(at: place) }

    /// Whether the chunk is known to hold zeros only, without reading it.
    package func isZero(_ place: Int) -> Bool {
        fetcher.isZero(list.digest(at: place), byteCount: list.range(at: place).count)
    }

    /// The whole chunk; the last may be short.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it is damaged or missing.
    package func chunk(_ place: Int) async throws -> [UInt8] {
        let byteCount = list.range(at: place).count
        if isZero(place) { return [UInt8](repeating: 0, count: byteCount) }
        let (wanted, dropped) = state.withLock { state -> (Task<[UInt8], any Error>, [Task<[UInt8], any Error>]) in
            let isForward =
                keptCount > Self.aheadCount && place > state.lastPlace && place - state.lastPlace <= Self.aheadCount
            state.lastPlace = place
            let wanted = slot(place, &state)
            state.slots[place]?.readers += 1
            if isForward {
                var next = place + 1
                var started = 0
                while next < list.count, started < Self.aheadCount {
                    if !isZero(next) {
                        _ = slot(next, &state)
                        started += 1
                    }
                    next += 1
                    if next - place > Self.lookCount { break }
                }
            }
            return (wanted, trim(&state))
        }
        for task in dropped { task.cancel() }
        let result = await wanted.result
        state.withLock { state in
            state.slots[place]?.readers -= 1
            // Whoever comes next tries again.
            if case .failure = result { state.slots[place] = nil }
            if keptCount == 0, state.slots[place]?.readers == 0 { state.slots[place] = nil }
        }
        return try result.get()
    }

    /// Places that are looked at for the next chunks with content.
    private static let lookCount = 256

    private func slot(_ place: Int, _ state: inout State) -> Task<[UInt8], any Error> {
        state.useCount += 1
        if let slot = state.slots[place] {
            state.slots[place]?.lastUse = state.useCount
            return slot.content
        }
        let (digest, byteCount) = (list.digest(at: place), list.range(at: place).count)
        let content = Task { [fetcher, list] in
            try Task.checkCancellation()
            return try await fetcher.content(of: digest, byteCount: byteCount, in: list)
        }
        state.slots[place] = Slot(content: content, lastUse: state.useCount)
        return content
    }

    /// Gives up the slots used longest ago, except those that somebody waits for.
    private func trim(_ state: inout State) -> [Task<[UInt8], any Error>] {
        guard state.slots.count > keptCount else { return [] }
        let oldest = state.slots.filter { $0.value.readers == 0 }.sorted { $0.value.lastUse < $1.value.lastUse }
            .prefix(state.slots.count - keptCount)
        for (place, _) in oldest { state.slots[place] = nil }
        return oldest.map(\.value.content)
    }
}

extension SnapshotDownload {
    /// Opens an image for reading at any place.
    ///
    /// - Parameter isForward: Whether it is read from the front to the back: then chunks are fetched ahead and kept.
    /// - Throws: ``BackupFailure``: `corruptData` where its index is not the one that the manifest lists.
    package func openImage(_ file: Manifest.File, isForward: Bool = true) async throws -> ImageReader {
        ImageReader(
            try await chunks(of: file), try fetcher(for: file, cacheBytes: 0), of: self,
            keptCount: isForward ? ImageReader.keptCount : 0)
    }
}
