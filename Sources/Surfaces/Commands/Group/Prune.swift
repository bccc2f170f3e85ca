import ArgumentParser
import BackupFormats

struct PruneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Removes old snapshots of a group, or of all groups, by rules.",
        discussion: """
            Without any --keep option all snapshots are kept. A server of this kind says of each snapshot why it stays or
            goes: always with --store, over a repository with --explain.
            """)

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /admin/datastore/{store}/prune" }
        static var omitted: Set<String> { ["ns", "backup-type", "backup-id", "dry-run", "use-task"] }
    }

    @Argument(help: ArgumentHelp("A group as type/id.", valueName: "group")) var group: String?
    @Flag(help: "All groups of the namespace and of those below instead of one; shows the log of the task.")
    var all = false
    @Option(help: "With --all, so many levels below the namespace, 0 to 7.") var maxDepth: Int?
    @OptionGroup var rules: EndpointOptions<Settings>
    @Flag(name: [.customShort("n"), .long], help: "Only show what would be removed.") var dryRun = false
    @Flag(help: "Show nothing.") var quiet = false
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (group != nil) != all else { throw ValidationError("name one group, or give --all") }
        guard all || maxDepth == nil else { throw ValidationError("--max-depth goes with --all") }
    }

    func run() async throws {
        var parameters = try rules.values.merging(namespace.parameters())
        if dryRun { parameters["dry-run"] = true }
        if let group {
            try await prune(Names.group(group), parameters)
        } else {
            if let maxDepth { parameters["max-depth"] = .integer(maxDepth) }
            try await pruneAll(parameters)
        }
    }

    private func prune(_ group: BackupGroup, _ parameters: JSONObject) async throws {
        var parameters = parameters.merging(group.parameters)
        // Another kind of server refuses a parameter that it does not know.
        if repository.store != nil, parameters["explain"] == nil { parameters["explain"] = true }
        let result = try await repository.withServer { [parameters] server, repository in
            try await server.call(
                "POST", datastorePath(repository, "prune"), parameters,
                trying: "\(group) cannot be pruned")
        }
        guard !quiet else { return }
        let snapshots = result.arrayValue ?? []
        let isExplained = snapshots.contains { $0["reason"] != nil }
        output.write(
            snapshots,
            columns: [
                Column("snapshot") { SnapshotList.name($0) },
                Column("action") { item in
                    if item["protected"]?.boolValue == true { return "protected" }
                    return item["keep"]?.boolValue == true ? "keep" : "remove"
                },
            ] + (isExplained ? [Column("why", member: "reason")] : []))
    }

    private func pruneAll(_ parameters: JSONObject) async throws {
        try await repository.withServer { server, repository in
            let failure = "\(repository) cannot be pruned"
            let task = try await server.call(
                "POST", datastorePath(repository, "prune-datastore"), parameters, trying: failure)
            if quiet, let upid = task.stringValue {
                try await TaskLog.wait(for: upid, on: server, trying: failure)
            } else {
                try await TaskLog.show(task, on: server, as: output, trying: failure)
            }
        }
    }
}
