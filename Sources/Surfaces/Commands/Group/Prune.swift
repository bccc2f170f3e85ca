import ArgumentParser
import BackupFormats

struct PruneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Removes old snapshots of a group by rules.",
        discussion: "Without any --keep option all snapshots are kept.")

    @Argument(help: ArgumentHelp("A group as type/id.", valueName: "group")) var group: String
    @Option(help: "Keep so many of the newest.") var keepLast: Int?
    @Option(help: "Keep one of each of so many hours.") var keepHourly: Int?
    @Option(help: "Keep one of each of so many days.") var keepDaily: Int?
    @Option(help: "Keep one of each of so many weeks.") var keepWeekly: Int?
    @Option(help: "Keep one of each of so many months.") var keepMonthly: Int?
    @Option(help: "Keep one of each of so many years.") var keepYearly: Int?
    @Flag(name: [.customShort("n"), .long], help: "Only show what would be removed.") var dryRun = false
    @Flag(help: "Show nothing.") var quiet = false
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let name = try Names.group(group)
        var parameters = try name.parameters.merging(namespace.parameters())
        let rules = [
            ("keep-last", keepLast), ("keep-hourly", keepHourly), ("keep-daily", keepDaily),
            ("keep-weekly", keepWeekly),
            ("keep-monthly", keepMonthly), ("keep-yearly", keepYearly),
        ]
        for (rule, count) in rules {
            guard let count else { continue }
            guard count >= 1 else { throw BackupFailure(.invalidInput, "--\(rule) must be 1 or more") }
            parameters[rule] = .integer(count)
        }
        if dryRun { parameters["dry-run"] = true }
        let result = try await repository.withServer { [parameters] server, repository in
            try await server.call(
                "POST", datastorePath(repository, "prune"), parameters, trying: "\(name) cannot be pruned")
        }
        guard !quiet else { return }
        output.write(
            result.arrayValue ?? [],
            columns: [
                Column("snapshot") { SnapshotList.name($0) },
                Column("action") { item in
                    if item["protected"]?.boolValue == true { return "protected" }
                    return item["keep"]?.boolValue == true ? "keep" : "remove"
                },
            ])
    }
}
