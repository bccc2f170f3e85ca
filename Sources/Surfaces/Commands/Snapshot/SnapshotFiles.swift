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

    @OptionGroup var snapshot: SnapshotOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let files = try await snapshot.call("GET", "files") { "The files of \($0) cannot be listed" }
        output.write(
            files.arrayValue ?? [],
            columns: [
                Column("filename", member: "filename"), Column("crypt-mode", member: "crypt-mode"),
                .size("size", member: "size"),
            ])
    }
}
