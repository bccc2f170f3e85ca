import ArgumentParser
import BackupFormats
import BackupProtocol

/// A kind of job; `kind` is its word in the API.
protocol JobKind: ConfiguredObject {
    static var kind: String { get }
    static var ownColumns: [Column] { get }
}

extension JobKind {
    static var noun: String { "\(kind) job" }
    static var path: String { "/config/\(kind)" }
    /// The settings with the state of each job.
    static var listing: (path: String, parameters: JSONObject) { ("/admin/\(kind)", [:]) }
    static var columns: [Column] {
        [Column("id", member: "id"), Column("store", member: "store"), Column("ns", member: "ns")] + ownColumns
            + JobColumns.schedule + [Column("comment", member: "comment")]
    }
    static var verbs: [any ParsableCommand.Type] {
        [
            ObjectList<Self>.self, ObjectShow<Self>.self, ObjectCreate<Self>.self, ObjectUpdate<Self>.self,
            ObjectRemove<Self>.self, JobRun<Self>.self,
        ]
    }
}

enum JobColumns {
    /// When it runs, and how the last run went.
    static var schedule: [Column] {
        [
            Column("schedule", member: "schedule"), .time("next run", member: "next-run"),
            .time("last run", member: "last-run-endtime"), Column("last result", member: "last-run-state"),
        ]
    }
}

enum PruneJobs: JobKind {
    static var kind: String { "prune" }
    static var ownColumns: [Column] {
        [
            Column("keep") { job in
                ["last", "hourly", "daily", "weekly", "monthly", "yearly"].compactMap { unit in
                    job["keep-\(unit)"].map { "\(unit) \(Column.text($0))" }
                }.joined(separator: ", ")
            },
            Column("enabled") { $0["disable"]?.boolValue == true ? "no" : "yes" },
        ]
    }
}

enum VerifyJobs: JobKind {
    static var kind: String { "verify" }
    static var ownColumns: [Column] { [Column("outdated after", member: "outdated-after")] }
}

enum SyncJobs: JobKind {
    static var kind: String { "sync" }
    static var listing: (path: String, parameters: JSONObject) { ("/admin/sync", ["sync-direction": "all"]) }
    static var ownColumns: [Column] {
        [
            Column("direction") { $0["sync-direction"]?.stringValue ?? "pull" }, Column("remote", member: "remote"),
            Column("remote store", member: "remote-store"), Column("remote ns", member: "remote-ns"),
        ]
    }
}

struct PruneJobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune-job", abstract: "Jobs that remove old snapshots.", subcommands: PruneJobs.verbs)
}

struct VerifyJobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify-job", abstract: "Jobs that check snapshots.", subcommands: VerifyJobs.verbs)
}

struct SyncJobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync-job", abstract: "Jobs that copy snapshots from or to another server or datastore.",
        subcommands: SyncJobs.verbs)
}

struct JobRun<Kind: JobKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "run", abstract: "Runs a \(Kind.noun) now and shows its log until it ends.")
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: "id")) var id: String
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let failure = "The \(Kind.noun) \(id) failed"
        try await owner.runTask(
            "/admin/\(Kind.kind)/\(FormText.encode(id))/run", as: output, starting: "The \(Kind.noun) \(id) cannot run",
            failing: failure)
    }
}
