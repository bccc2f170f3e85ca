package import BackupFormats

/// A verification: what it covers, what it leaves out, and how much of the machine it takes.
package struct VerifyRequest: Sendable {
    package var store: String
    package var namespace: Namespace
    /// Levels below the namespace; without meaning for a group or a snapshot.
    package var maxDepth: Int
    /// Only this group of the namespace.
    package var group: BackupGroup?
    /// Only this snapshot of the namespace.
    package var snapshot: SnapshotName?
    /// Leave out what was verified before, whatever was found.
    package var ignoresVerified: Bool
    /// Days after which an earlier verification no longer counts; nil for never.
    package var outdatedAfterDays: Int64?
    /// Threads that read and that check; nil for the datastore's setting, else what suits the machine.
    package var readThreads: Int?
    package var verifyThreads: Int?
    /// Bytes that are read in a second at most; nil for as many as possible.
    package var rate: Int?

    package init(
        store: String, namespace: Namespace = .root, maxDepth: Int = Namespace.maxDepth, group: BackupGroup? = nil,
        snapshot: SnapshotName? = nil, ignoresVerified: Bool = true, outdatedAfterDays: Int64? = nil,
        readThreads: Int? = nil, verifyThreads: Int? = nil, rate: Int? = nil
    ) {
        self.store = store
        self.namespace = namespace
        self.maxDepth = maxDepth
        self.group = group
        self.snapshot = snapshot
        self.ignoresVerified = ignoresVerified
        self.outdatedAfterDays = outdatedAfterDays
        self.readThreads = readThreads
        self.verifyThreads = verifyThreads
        self.rate = rate
    }

    var place: ContentPlace { ContentPlace(store: store, namespace: namespace) }

    /// Whether a snapshot with this earlier result is verified again. (Spec: formats §9.10.)
    func takes(_ state: Manifest.VerifyState?, now: Int64) -> Bool {
        guard ignoresVerified, let task = state?.task else { return true }
        guard let days = outdatedAfterDays else { return false }
        guard let start = (try? UPID(parsing: task))?.startTime else { return true }
        return (now - start).floorDivided(by: 86400) > days
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
