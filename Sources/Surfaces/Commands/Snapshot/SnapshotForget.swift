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

    @OptionGroup var snapshot: SnapshotOptions

    mutating func run() async throws {
        try await snapshot.call("DELETE", "snapshots") { "\($0) cannot be removed" }
    }
}
