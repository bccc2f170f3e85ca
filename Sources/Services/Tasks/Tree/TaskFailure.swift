package import BackupFormats

/// An error as logs of tasks tell it. (Spec: xo-proxy §1.9 rule 5.)
package enum TaskFailure {
    static let cancelledName = "CanceledError"
    private static let cancelled: JSONObject = ["name": .string(cancelledName), "message": "canceled"]
    /// Causes of causes that are told.
    private static let maxCauses = 8

    /// - Parameter isCancelled: Whether the task was asked to end; whatever it then fails with is that.
    package static func json(_ error: any Error, isCancelled: Bool = false) -> JSONValue {
        .object(members(of: error, isCancelled: isCancelled, depth: 0))
    }

    private static func members(of error: any Error, isCancelled: Bool, depth: Int) -> JSONObject {
        if isCancelled || error is CancellationError { return cancelled }
        guard let failure = error as? BackupFailure else {
            return ["name": "Error", "message": .string("\(error)")]
        }
        if failure.kind == .cancelled { return cancelled }
        var members: JSONObject = ["name": "Error", "message": .string(failure.description)]
        if let code = code(of: failure) { members["code"] = .string(code) }
        if !failure.hints.isEmpty { members["hints"] = .array(failure.hints.map { .string($0) }) }
        if let cause = failure.cause, depth < maxCauses {
            members["cause"] = .object(Self.members(of: cause, isCancelled: false, depth: depth + 1))
        }
        return members
    }

    /// The word that callers know such a failure by. (Spec: xo-proxy §2.5, §5.9.)
    package static func code(of failure: BackupFailure) -> String? {
        if failure.summary == "Lock file is already being held" { return "ELOCKED" }
        return switch failure.kind {
        case .notFound, .noSuchObject: "ENOENT"
        case .storageFull: "ENOSPC"
        case .notAuthorized: "EACCES"
        default: nil
        }
    }
}
