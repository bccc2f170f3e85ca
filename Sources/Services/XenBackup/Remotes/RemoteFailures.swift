import BackupFormats
import Platform

extension SystemError {
    /// What the caller of a remote is told: the kind says what can be done, the summary names remote and object.
    ///
    /// - Parameter what: Object and what became of it: `a/b.json cannot be read`.
    func failure(of remote: String, _ what: String) -> BackupFailure {
        let summary = "On the remote \(remote), \(what)"
        if isMissing { return BackupFailure(.notFound, summary, cause: self) }
        if isFull {
            return BackupFailure(
                .storageFull, summary, hints: ["Make room on the remote, or lower the retention of its jobs."],
                cause: self)
        }
        if isUnreachable {
            return BackupFailure(
                .unavailable, summary,
                hints: ["Check the server and the medium of the remote, and that it is still exported."], cause: self)
        }
        if isReadOnly {
            return BackupFailure(
                .notAuthorized, summary,
                hints: ["The remote, or this part of it, is read-only for the user that runs the server."], cause: self)
        }
        if isLink {
            return BackupFailure(
                .invalidInput, summary, hints: ["Links inside a remote are not followed."], cause: self)
        }
        if isFolder || isNameTooLong || isTooLong { return BackupFailure(.invalidInput, summary, cause: self) }
        return failure(summary)
    }
}
