import ArgumentParser
import BackupFormats

struct SnapshotProtected: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protected", abstract: "The protection of a snapshot against removal.",
        subcommands: [Show.self, Update.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Shows whether a snapshot is protected.")

        @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
        @OptionGroup var repository: RepositoryOptions
        @OptionGroup var namespace: NamespaceOption
        @OptionGroup var output: OutputOptions

        mutating func run() async throws {
            let name = try Names.snapshot(snapshot)
            let parameters = try name.parameters.merging(namespace.parameters())
            let isProtected = try await repository.withServer { server, repository in
                try await server.call(
                    "GET", datastorePath(repository, "protected"), parameters,
                    trying: "The protection of \(name) cannot be read")
            }
            output.write(isProtected) { $0.compactText }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "update", abstract: "Protects a snapshot, or lifts its protection.")

        @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
        @Argument(help: ArgumentHelp("true or false.", valueName: "protected")) var isProtected: Bool
        @OptionGroup var repository: RepositoryOptions
        @OptionGroup var namespace: NamespaceOption

        mutating func run() async throws {
            let name = try Names.snapshot(snapshot)
            let parameters = try name.parameters.merging(namespace.parameters())
                .merging(["protected": .bool(isProtected)])
            try await repository.withServer { server, repository in
                try await server.call(
                    "PUT", datastorePath(repository, "protected"), parameters,
                    trying: "The protection of \(name) cannot be changed")
            }
        }
    }
}
