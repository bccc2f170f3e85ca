import ArgumentParser
import BackupFormats
import BackupProtocol

struct PullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Copies snapshots from another server's datastore, and shows the log.",
        discussion: "With - as remote the other datastore is one of this server.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /pull" }
        static var omitted: Set<String> { ["remote", "remote-store", "store"] }
    }

    @Argument(help: ArgumentHelp("A remote of this server, or -.", valueName: "remote")) var remote: String
    @Argument(help: ArgumentHelp("The datastore to copy from.", valueName: "remote-store")) var remoteStore: String
    @Argument(help: ArgumentHelp("The datastore of this server to copy into.", valueName: "store")) var store: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var parameters = settings.values.merging(["remote-store": .string(remoteStore), "store": .string(store)])
        if remote != "-" { parameters["remote"] = .string(remote) }
        try await owner.runTask(
            "/pull", parameters, as: output, starting: "The pull cannot start", failing: "The pull into \(store) failed"
        )
    }
}

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Copies snapshots into another server's datastore, and shows the log.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /push" }
        static var omitted: Set<String> { ["remote", "remote-store", "store"] }
    }

    @Argument(help: ArgumentHelp("The datastore of this server to copy.", valueName: "store")) var store: String
    @Argument(help: ArgumentHelp("A remote of this server.", valueName: "remote")) var remote: String
    @Argument(help: ArgumentHelp("The datastore to copy into.", valueName: "remote-store")) var remoteStore: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let parameters = settings.values.merging([
            "remote": .string(remote), "remote-store": .string(remoteStore), "store": .string(store),
        ])
        try await owner.runTask(
            "/push", parameters, as: output, starting: "The push cannot start", failing: "The push of \(store) failed")
    }
}
