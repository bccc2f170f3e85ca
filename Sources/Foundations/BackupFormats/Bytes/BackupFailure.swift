/// What everything above the formats reports: a kind to act on, a sentence to
/// read, a cause to debug.
package struct BackupFailure: Error, Sendable {
    /// Sorted by what the caller can do about it, not by where it arose.
    package enum Kind: String, CaseIterable, Sendable {
        /// The request itself is wrong.
        case invalidInput
        /// No credentials, or bad ones.
        case notAuthenticated
        /// Known, but without the privilege.
        case notAuthorized
        /// What is addressed is not there. (Status 404: missing blob, namespace of an upgrade, unknown route.)
        case notFound
        /// Names a datastore, group, snapshot or task that does not exist. The
        /// original answers 400 here, not 404, and clients rely on it.
        case noSuchObject
        /// Something else stands in the way: a lock, an existing object, an owner.
        case conflict
        /// Stored data is not what it should be.
        case corruptData
        case storageFull
        /// Try again later.
        case unavailable
        /// Not built, or not available here.
        case unsupported
        case cancelled
        case internalFault
    }

    package var kind: Kind
    /// One sentence without the cause: "Chunk 3f…a2 of store1 cannot be read".
    package var summary: String
    /// What the person may do next; each a full sentence.
    package var hints: [String]
    package var cause: (any Error)?

    package init(_ kind: Kind, _ summary: String, hints: [String] = [], cause: (any Error)? = nil) {
        self.kind = kind
        self.summary = summary
        self.hints = hints
        self.cause = cause
    }
}

extension BackupFailure: CustomStringConvertible {
    /// The summary and the chain of causes in one line, as logs and error bodies show it.
    package var description: String {
        guard let cause else { return summary }
        return "\(summary): \(cause)"
    }
}
