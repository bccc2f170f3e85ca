import ArgumentParser
import BackupFormats

/// The old name of `snapshot files`.
struct FilesAlias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "files", abstract: "As snapshot files.", shouldDisplay: false)
    @OptionGroup var command: SnapshotFiles
    mutating func run() async throws { try await command.run() }
}

struct SnapshotFiles: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "files", abstract: "Lists the archives of a snapshot.")

    @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let name = try Names.snapshot(snapshot)
        let parameters = try name.parameters.merging(namespace.parameters())
        let files = try await repository.withServer { server, repository in
            try await server.call(
                "GET", datastorePath(repository, "files"), parameters, trying: "The files of \(name) cannot be listed")
        }
        output.write(
            files.arrayValue ?? [],
            columns: [
                Column("filename", member: "filename"), Column("crypt-mode", member: "crypt-mode"),
                .size("size", member: "size"),
            ])
    }
}
