import ArgumentParser
import BackupFormats

/// The old name of `snapshot forget`.
struct ForgetAlias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "As snapshot forget.", shouldDisplay: false)
    @OptionGroup var command: SnapshotForget
    mutating func run() async throws { try await command.run() }
}

struct SnapshotForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Removes a snapshot.",
        discussion: "Its chunks are given back by the next garbage collection that finds them unused.")

    @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption

    mutating func run() async throws {
        let name = try Names.snapshot(snapshot)
        let parameters = try name.parameters.merging(namespace.parameters())
        try await repository.withServer { server, repository in
            try await server.call(
                "DELETE", datastorePath(repository, "snapshots"), parameters, trying: "\(name) cannot be removed")
        }
    }
}
