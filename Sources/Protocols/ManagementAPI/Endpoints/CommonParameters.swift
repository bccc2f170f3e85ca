import BackupFormats
import BackupProtocol

extension EndpointParameter {
    package static func boolean(_ name: String, _ summary: String) -> EndpointParameter {
        EndpointParameter(name, .boolean, summary)
    }

    package static func integer(_ name: String, _ range: ClosedRange<Int64>, _ summary: String) -> EndpointParameter {
        EndpointParameter(name, .integer(range), summary)
    }

    package static func text(
        _ name: String, _ summary: String, length: ClosedRange<Int> = 0...Limits.text
    ) -> EndpointParameter {
        EndpointParameter(name, .text(length), summary)
    }

    package static func choice(_ name: String, _ words: [String], _ summary: String) -> EndpointParameter {
        EndpointParameter(name, .oneOf(words), summary)
    }

    package static func list(_ name: String, of words: [String], _ summary: String) -> EndpointParameter {
        EndpointParameter(name, .array(of: .oneOf(words)), summary)
    }

    package static func datastore(_ name: String, _ summary: String) -> EndpointParameter {
        EndpointParameter(
            name, .datastore, summary, form: Form.safeID, expression: "^[A-Za-z0-9_][A-Za-z0-9._-]{2,31}$")
    }

    package static func namespace(_ name: String, _ summary: String) -> EndpointParameter {
        EndpointParameter(
            name, .namespace, summary, form: "names joined by `/`, at most \(Namespace.maxDepth) levels",
            expression: "^(\(Form.safeIDBody)(/\(Form.safeIDBody)){0,\(Namespace.maxDepth - 1)})?$")
    }

    package static func userID(_ name: String, _ summary: String) -> EndpointParameter {
        EndpointParameter(
            name, .pattern(3...64) { AuthID(parsing: $0).map { !$0.isToken } ?? false }, summary, form: "`name@realm`",
            expression: "^\(Form.userBody)$")
    }

    package static func authID(_ name: String, _ summary: String) -> EndpointParameter {
        EndpointParameter(
            name, .authID, summary, form: "`name@realm` or `name@realm!token`",
            expression: "^\(Form.userBody)(![A-Za-z0-9_][A-Za-z0-9._-]{0,31})?$")
    }

    /// Longest texts that parameters may have.
    package enum Limits {
        package static let text = 64 * 1024
        package static let comment = 128
        package static let path = 4096
        package static let accessPath = 128
    }

    enum Form {
        static let safeID = "a letter, digit or `_`, then also `.` and `-`"
        static let safeIDBody = "[A-Za-z0-9_][A-Za-z0-9._-]{0,30}"
        static let safeIDExpression = "^[A-Za-z0-9_][A-Za-z0-9._-]*$"
        static let userBody = "[A-Za-z0-9._+-]{1,32}@[A-Za-z0-9_][A-Za-z0-9._-]{1,15}"
    }
}

/// Parameters that several endpoints share.
extension EndpointParameter {
    package static let store = datastore("store", "Name of the datastore.")
    package static let ns = namespace("ns", "Namespace; empty for the root.").optional()
    package static let backupType = EndpointParameter(
        "backup-type", .backupType, "What kind of machine the backup is of.")
    package static let backupID = EndpointParameter(
        "backup-id", .backupID, "Name of the group.", form: Form.safeID, expression: Form.safeIDExpression)
    package static let backupTime = EndpointParameter(
        "backup-time", .backupTime, "Time of the snapshot in Unix seconds.")
    package static let fileName = EndpointParameter(
        "file-name", .pattern(0...255) { ArchiveName($0) != nil }, "File of the snapshot.",
        form: "a name ending in `.fidx`, `.didx` or `.blob`",
        expression: "^[A-Za-z0-9_][A-Za-z0-9._-]*\\.(fidx|didx|blob)$")
    package static let errorOnProtected = boolean(
        "error-on-protected", "Whether a protected snapshot that stays is an error."
    ).optional(true)
    package static let digest = EndpointParameter(
        "digest", .digest, "Refuse the change unless the configuration still has this digest.", form: "64 hex digits",
        expression: "^[0-9a-f]{64}$"
    ).optional()
    package static let node = EndpointParameter(
        "node", .pattern(1...255) { SafeID.isValid($0) }, "Any name: there is one node.", form: Form.safeID,
        expression: Form.safeIDExpression)
    package static let upid = text("upid", "Id of the task.", length: 1...1024)
    package static let tokenName = EndpointParameter(
        "token-name", .pattern(0...64) { SafeID.isValid($0) }, "Name of the token.", form: Form.safeID,
        expression: Form.safeIDExpression)
    package static let comment = text("comment", "One line about it.", length: 0...Limits.comment)
    package static let enable = boolean("enable", "Whether it may be used; an absent value means yes.")
    package static let expire = integer(
        "expire", 0...Int64.max, "Unix seconds from which on it is refused; 0 means never.")

    package static let group: [EndpointParameter] = [.backupType, .backupID]
    package static let snapshot: [EndpointParameter] = [.backupType, .backupID, .backupTime]

    /// The rules of a prune; without any of them everything is kept.
    package static let keep: [EndpointParameter] = [
        ("keep-last", "snapshots"), ("keep-hourly", "hours"), ("keep-daily", "days"), ("keep-weekly", "ISO weeks"),
        ("keep-monthly", "months"), ("keep-yearly", "years"),
    ].map { name, unit in
        integer(name, 1...Int64.max, "Keep the newest snapshot of each of so many \(unit).").optional()
    }
}
