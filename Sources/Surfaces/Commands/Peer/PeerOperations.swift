import ArgumentParser
import BackupFormats
import BackupProtocol
import ManagementAPI
import Platform

struct PeerResults: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "results", abstract: "Shows the last backup of each plan of each member, and what is overdue.")

    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "\(Peers.path)/results", as: output,
            columns: [
                Column("machine", member: "instance"), Column("plan", member: "plan"), Column("repo", member: "repo"),
                .time("last backup", member: "starttime"),
                Column("status") { $0["status"].map { Column.text($0) } ?? "none yet" },
                Column("overdue") { $0["overdue-since"]?.intValue.map { "since \(BackupTime.text($0))" } ?? "" },
                Column("message", member: "message"),
            ], trying: "The results of the members cannot be shown")
    }
}

struct PeerOperations: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operations", abstract: "Lists what members have done, newest first.")

    @Option(help: ArgumentHelp("Only of this member.", valueName: "name")) var peer: String?
    @Flag(help: "Only what failed or was cut off.") var failed = false
    @Option(help: ArgumentHelp("Only of the last so long. \(TimeSpan.form).", valueName: "time")) var since: TimeSpan?
    @Option(help: "Part of the plan, the repo, the instance or the message.") var text: String?
    @Option(
        help: ArgumentHelp("Only of this kind; may be given several times.", valueName: "kind"),
        completion: .list(PeerOperationKind.allCases.map(\.rawValue)))
    var kind: [String] = []
    @Option(help: "So many at most.") var limit = 50
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "\(Peers.path)/operations", parameters, as: output, columns: Self.columns,
            trying: "The operations of the members cannot be listed")
    }

    private var parameters: JSONObject {
        var parameters: JSONObject = ["limit": .integer(limit)]
        parameters["peer"] = peer.map { .string($0) }
        if failed { parameters["failed"] = true }
        parameters["since"] = since.map { .integer(max(0, TimeSource.system.seconds - $0.seconds)) }
        parameters["text"] = text.map { .string($0) }
        if !kind.isEmpty { parameters["kind"] = .array(kind.map(JSONValue.string)) }
        return parameters
    }

    static var columns: [Column] {
        [
            Column.time("started", member: "starttime"), .time("ended", member: "endtime"),
            Column("machine", member: "instance"), Column("kind", member: "kind"), Column("plan", member: "plan"),
            Column("repo", member: "repo"),
            Column("status") { $0["forgotten"] == true ? "forgotten" : Column.text($0["status"]) },
            Column("id", member: "id"),
            Column("message", member: "message"),
        ]
    }
}

struct PeerLog: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Shows the log of an operation of a member that is a Cairn.")

    @Argument(help: ArgumentHelp("The id of the operation here.", valueName: "id")) var id: Int64
    @Flag(help: "Go on until the operation has ended.") var follow = false
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer { server in
            try await server.read(
                "\(Peers.path)/operations/\(id)/log", follow ? ["follow": true] : [:],
                trying: "The log of the operation \(id) cannot be shown"
            ) { try StandardStreams.write(StandardStreams.output, $0) }
        }
    }
}
