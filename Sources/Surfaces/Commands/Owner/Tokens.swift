import ArgumentParser
import BackupFormats
import BackupProtocol

private func path(_ user: String, token name: String? = nil) -> String {
    Users.path(of: user) + "/token" + (name.map { "/" + FormText.encode($0) } ?? "")
}

struct TokenGenerate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate-token", abstract: "Makes an API token of a user and shows its secret, once.",
        discussion: "A token has no rights until `acl update` gives it some; they never exceed those of its user.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /access/users/{userid}/token/{token-name}" }
    }

    @Argument(help: ArgumentHelp("name@realm.", valueName: "userid")) var user: String
    @Argument(help: ArgumentHelp("The name of the token.", valueName: "token-name")) var name: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let token = try await owner.withServer {
            try await $0.call(
                "POST", path(user, token: name), settings.values, trying: "The token \(user)!\(name) cannot be made")
        }
        output.write(token) { "\($0["tokenid"]?.stringValue ?? "") \($0["value"]?.stringValue ?? "")" }
    }
}

struct TokenList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list-tokens", abstract: "Lists the API tokens of a user.")

    @Argument(help: ArgumentHelp("name@realm.", valueName: "userid")) var user: String
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            path(user), as: output,
            columns: [
                Column("tokenid", member: "tokenid"), Users.isEnabled, .time("expires", member: "expire"),
                Column("comment", member: "comment"),
            ], trying: "The tokens of \(user) cannot be listed")
    }
}

struct TokenDelete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete-token", abstract: "Removes an API token with its rights.")

    @Argument(help: ArgumentHelp("name@realm.", valueName: "userid")) var user: String
    @Argument(help: ArgumentHelp("The name of the token.", valueName: "token-name")) var name: String
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call(
                "DELETE", path(user, token: name), trying: "The token \(user)!\(name) cannot be removed")
        }
    }
}
