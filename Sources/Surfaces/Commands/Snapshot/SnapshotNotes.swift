import ArgumentParser
import BackupFormats

struct SnapshotNotes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notes", abstract: "The notes of a snapshot.", subcommands: [Show.self, Update.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Shows the notes.")

        @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
        @OptionGroup var repository: RepositoryOptions
        @OptionGroup var namespace: NamespaceOption
        @OptionGroup var output: OutputOptions

        mutating func run() async throws {
            let name = try Names.snapshot(snapshot)
            let parameters = try name.parameters.merging(namespace.parameters())
            let notes = try await repository.withServer { server, repository in
                try await server.call(
                    "GET", datastorePath(repository, "notes"), parameters, trying: "The notes of \(name) cannot be read"
                )
            }
            output.write(notes) { $0.stringValue ?? "" }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "update", abstract: "Replaces the notes.")

        @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
        @Argument(help: ArgumentHelp("The new text.", valueName: "notes")) var notes: String
        @OptionGroup var repository: RepositoryOptions
        @OptionGroup var namespace: NamespaceOption

        mutating func run() async throws {
            let name = try Names.snapshot(snapshot)
            let parameters = try name.parameters.merging(namespace.parameters()).merging(["notes": .string(notes)])
            try await repository.withServer { server, repository in
                try await server.call(
                    "PUT", datastorePath(repository, "notes"), parameters,
                    trying: "The notes of \(name) cannot be changed")
            }
        }
    }
}
