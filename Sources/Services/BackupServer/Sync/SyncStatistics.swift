import BackupFormats
import Synchronization

/// What a synchronisation did, for its log.
final class SyncStatistics: Sendable {
    struct Figures: Sendable {
        /// Chunks that went over the network, or were copied between datastores.
        var chunks = 0
        /// Their bytes as they travel, and those of indexes and blobs.
        var bytes = 0
        /// Chunks that the target had already.
        var presentChunks = 0
        var copied = 0
        var repaired = 0
        var unchanged = 0
        var skipped = 0
        var removedSnapshots = 0
        var removedGroups = 0
        var removedNamespaces = 0
        var errors = 0
    }

    private let state = Mutex(Figures())

    var figures: Figures { state.withLock { $0 } }

    func add(_ change: (inout Figures) -> Void) { state.withLock { change(&$0) } }

    /// The last lines of the log.
    ///
    /// - Parameters:
    ///   - verb: `pulled` or `pushed`.
    ///   - nanoseconds: How long it took.
    func summary(_ verb: String, nanoseconds: Int64) -> [String] {
        let figures = figures
        var lines: [String] = []
        if figures.chunks == 0, figures.copied == 0, figures.repaired == 0 {
            lines.append("Summary: sync job found no new data to \(verb == "pulled" ? "pull" : "push")")
        } else {
            let rate = Double(figures.bytes) / max(0.001, Double(nanoseconds) / 1e9)
            lines.append(
                "Summary: sync \(verb) \(ByteAmount.text(figures.bytes)) in \(figures.chunks) chunks"
                    + " (average rate: \(ByteAmount.text(Int(rate)))/s)")
        }
        lines.append(
            "snapshots: \(figures.copied) copied, \(figures.repaired) repaired, \(figures.unchanged) unchanged,"
                + " \(figures.skipped) skipped; chunks already there: \(figures.presentChunks)")
        if figures.removedSnapshots + figures.removedGroups + figures.removedNamespaces > 0 {
            lines.append(
                "Summary: removed vanished: snapshots: \(figures.removedSnapshots), groups: \(figures.removedGroups),"
                    + " namespaces: \(figures.removedNamespaces)")
        }
        return lines
    }
}
