import BackupProtocol

/// What the operator may change about sessions.
package struct SessionSettings: Sendable {
    /// Largest image that `fixed_index` takes, in bytes. (Decision 7.)
    package var imageLimit = BackupSessionRules.defaultImageLimit
    /// How long the refusal of a chunk is held back, from its arrival. (Spec: protocol B.2.)
    package var refusalDelay: Duration = .seconds(3)
    /// Sessions of both kinds at the same time.
    package var maxSessions = 1024

    package init() {}
}
