import ArgumentParser
import BackupFormats

struct SnapshotNotes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notes", abstract: "The notes of a snapshot.", subcommands: [Show.self, Update.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Shows the notes.")

        @OptionGroup var snapshot: SnapshotOptions
        @OptionGroup var output: OutputOptions

        mutating func run() async throws {
            let notes = try await snapshot.call("GET", "notes") { "The notes of \($0) cannot be read" }
            output.write(notes) { $0.stringValue ?? "" }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "update", abstract: "Replaces the notes.")

        @OptionGroup var snapshot: SnapshotOptions
        @Argument(help: ArgumentHelp("The new text.", valueName: "notes")) var notes: String

        mutating func run() async throws {
            try await snapshot.call("PUT", "notes", ["notes": .string(notes)]) {
                "The notes of \($0) cannot be changed"
            }
        }
    }
}
