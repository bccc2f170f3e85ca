import ArgumentParser
import BackupFormats

struct AlertCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alert", abstract: "What is overdue.", subcommands: [AlertList.self])
}

struct AlertList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract:
            "Lists jobs that did not run well, groups without new backups, and failed or missing backups of peers."
    )

    enum Settings: EndpointChoice {
        static var endpoint: String { "GET /admin/alerts" }
    }

    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "/admin/alerts", settings.values, as: output,
            columns: [
                .time("since", member: "since"), Column("store", member: "store"), Column("ns", member: "ns"),
                Column("object") { alert in
                    let kind = alert["job-type"] ?? alert["backup-type"] ?? alert["peer"]
                    let id = alert["id"] ?? alert["backup-id"] ?? alert["plan"]
                    return [kind, id].compactMap { $0?.stringValue }.joined(separator: "/")
                },
                Column("what", member: "text"),
            ], trying: "The alerts cannot be listed")
    }
}

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Who changed what, when and from where.", subcommands: [AuditList.self])
}

struct AuditList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists changes that were made over the API, newest first.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "GET /nodes/{node}/audit" }
    }

    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "/nodes/localhost/audit", settings.values, as: output,
            columns: [
                .time("time", member: "time"), Column("user", member: "user"), Column("address", member: "address"),
                Column("action", member: "action"), Column("object", member: "object"),
                Column("parameters", member: "parameters"),
            ], trying: "The changes cannot be listed")
    }
}
