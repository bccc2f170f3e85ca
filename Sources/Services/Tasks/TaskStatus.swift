package import BackupFormats

/// How a task's work ended, as its code says.
package enum TaskOutcome: Hashable, Sendable {
    /// Done; with warnings where the task has logged some.
    case ok
    /// Not done; the text names the reason.
    case error(String)
}

/// What filters by status tell apart.
package enum TaskStatusClass: String, CaseIterable, Sendable {
    case ok, warning, error, unknown
}

/// The status of an ended task as text: `OK`, `WARNINGS: n` or the error. (Spec: rest E.8.)
package enum TaskStatus {
    package static let ok = "OK"
    /// The end of a task that nobody knows.
    package static let unknown = "unknown"
    package static let aborted = "task aborted"
    package static let interrupted = "interrupted: the server stopped while the task was running"
    private static let warningsPrefix = "WARNINGS: "

    static func text(_ outcome: TaskOutcome, warnings: Int, isAborted: Bool) -> String {
        switch outcome {
        case .ok: warnings == 0 ? ok : "\(warningsPrefix)\(warnings)"
        // What an abort breaks off fails in many ways; all of them are the abort.
        case .error(let reason): isAborted ? aborted : TaskLogLine.clean(reason)
        }
    }

    /// The last line of a log: `TASK OK`, `TASK WARNINGS: n`, `TASK ERROR: text`.
    static func lastLine(_ status: String) -> String {
        switch classify(status) {
        case .ok, .warning: "TASK \(status)"
        case .error, .unknown: "TASK ERROR: \(status)"
        }
    }

    package static func classify(_ status: String) -> TaskStatusClass {
        if status == ok { return .ok }
        if status == unknown { return .unknown }
        if status.hasPrefix(warningsPrefix), Int(status.dropFirst(warningsPrefix.count)) != nil { return .warning }
        return .error
    }
}

/// A task as lists show it, running or ended.
package struct TaskInfo: Hashable, Sendable {
    package let upid: UPID
    /// Unix seconds; nil while it runs.
    package let endTime: Int64?
    /// See ``TaskStatus``; nil while it runs.
    package let status: String?
    /// Part of the work that is done, 0 to 1, where the task says so.
    package let progress: Double?

    package init(upid: UPID, endTime: Int64? = nil, status: String? = nil, progress: Double? = nil) {
        self.upid = upid
        self.endTime = endTime
        self.status = status
        self.progress = progress
    }

    package var isRunning: Bool { endTime == nil }
    package var owner: AuthID { upid.authID }
}
