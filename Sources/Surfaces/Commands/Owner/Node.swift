import ArgumentParser
import BackupFormats

private let path = "/nodes/localhost/config"

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Settings of the server itself.", subcommands: [NodeShow.self, NodeUpdate.self])
}

struct NodeShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Shows the settings of the server.")
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let settings = try await owner.withServer {
            try await $0.call("GET", path, trying: "The settings of the server cannot be shown")
        }
        output.write(fields: settings)
    }
}

struct NodeUpdate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Changes settings of the server.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "PUT /nodes/{node}/config" }
    }

    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call("PUT", path, settings.values, trying: "The settings of the server cannot be changed")
        }
    }
}
