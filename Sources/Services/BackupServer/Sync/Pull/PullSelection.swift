import BackupFormats
import Datastore

/// Which snapshots of a group are to be pulled. (Spec: formats §9.13, step 2.)
struct PullSelection {
    enum Choice: Equatable {
        /// Copy it, or compare it where it is here already.
        case copy
        /// It is here, and known to be damaged.
        case again
        case skip(String)
    }

    let request: SyncRequest
    /// Snapshots of the group that are here.
    let local: [SnapshotDescription]

    /// The newest finished one that is here.
    var newest: SnapshotName? { local.filter { $0.entry.isFinished }.map(\.entry.name).max() }

    /// What to do with each snapshot of the source, in its order: oldest first.
    func choices(_ source: [SourceSnapshot]) -> [(snapshot: SourceSnapshot, choice: Choice)] {
        let candidates = source.filter { objection(to: $0) == nil }
        let cutoff = request.transferLast.map { candidates.count - $0 } ?? 0
        let places = Dictionary(
            candidates.enumerated().map { ($0.element.name, $0.offset) }, uniquingKeysWith: { first, _ in first })
        let newest = newest
        return source.map { snapshot in
            if let objection = objection(to: snapshot) { return (snapshot, .skip(objection)) }
            let name = snapshot.name
            if request.resyncsCorrupt, isDamaged(name) { return (snapshot, .again) }
            if let newest, name < newest { return (snapshot, .skip("older than the newest snapshot here")) }
            if name != newest, let place = places[name], place < cutoff {
                return (snapshot, .skip("due to transfer-last"))
            }
            return (snapshot, .copy)
        }
    }

    private func objection(to snapshot: SourceSnapshot) -> String? {
        if !snapshot.isFinished { return "still being written at the source" }
        if request.isVerifiedOnly, !snapshot.isVerified { return "not verified" }
        if request.isEncryptedOnly, !snapshot.isEncrypted { return "not encrypted" }
        return nil
    }

    private func isDamaged(_ name: SnapshotName) -> Bool {
        local.contains {
            $0.entry.name == name && $0.entry.runningTask == nil
                && ($0.manifest == nil || $0.verification?.outcome == .failed)
        }
    }
}
