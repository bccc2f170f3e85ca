import ArgumentParser
import BackupFormats

struct SnapshotProtected: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protected", abstract: "The protection of a snapshot against removal.",
        subcommands: [Show.self, Update.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Shows whether a snapshot is protected.")

        @OptionGroup var snapshot: SnapshotOptions
        @OptionGroup var output: OutputOptions

        mutating func run() async throws {
            let isProtected = try await snapshot.call("GET", "protected") { "The protection of \($0) cannot be read" }
            output.write(isProtected) { $0.compactText }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "update", abstract: "Protects a snapshot, or lifts its protection.")

        @OptionGroup var snapshot: SnapshotOptions
        @Argument(help: ArgumentHelp("true or false.", valueName: "protected")) var isProtected: Bool

        mutating func run() async throws {
            try await snapshot.call("PUT", "protected", ["protected": .bool(isProtected)]) {
                "The protection of \($0) cannot be changed"
            }
        }
    }
}
