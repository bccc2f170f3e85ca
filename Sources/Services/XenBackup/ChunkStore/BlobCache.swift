import BackupFormats
import Synchronization

/// Stored bytes of small blobs that were read last: listings ask for the same ones again and again.
///
/// A snapshot never changes once it is finished, but one may be removed and another take its name: hence the lengths of
/// its files in the key.
final class BlobCache: Sendable {
    /// Bytes that are kept: some thousand descriptions of machines.
    static let byteLimit = 8 << 20

    private struct Key: Hashable {
        let snapshot: SnapshotName
        let archive: ArchiveName
        let files: [ArchiveName: Int]
    }

    private struct State {
        var blobs: [Key: [UInt8]] = [:]
        /// From the one that came first.
        var order: [Key] = []
        var bytes = 0
    }

    private let state = Mutex(State())

    func find(_ archive: ArchiveName, of snapshot: StoredSnapshot) -> [UInt8]? {
        let key = Key(snapshot: snapshot.name, archive: archive, files: snapshot.files)
        return state.withLock { $0.blobs[key] }
    }

    func add(_ archive: ArchiveName, of snapshot: StoredSnapshot, _ blob: [UInt8]) {
        let key = Key(snapshot: snapshot.name, archive: archive, files: snapshot.files)
        state.withLock { state in
            guard blob.count <= Self.byteLimit, state.blobs[key] == nil else { return }
            state.blobs[key] = blob
            state.order.append(key)
            state.bytes += blob.count
            while state.bytes > Self.byteLimit, !state.order.isEmpty {
                state.bytes -= state.blobs.removeValue(forKey: state.order.removeFirst())?.count ?? 0
            }
        }
    }

    /// A snapshot was removed.
    func forget(_ snapshot: SnapshotName) {
        state.withLock { state in
            state.order.removeAll { key in
                guard key.snapshot == snapshot else { return false }
                state.bytes -= state.blobs.removeValue(forKey: key)?.count ?? 0
                return true
            }
        }
    }
}
