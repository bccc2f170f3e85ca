import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Users of a server and their API tokens.",
        subcommands: [
            UserCreate.self, UserList.self, UserRemove.self, TokenGenerate.self, TokenList.self, TokenDelete.self,
        ])
}

/// The path of a user's calls.
private func userPath(_ user: String, _ rest: String = "") -> String {
    "/access/users/\(FormText.encode(user))" + rest
}

struct UserCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Makes a user.")

    @Argument(help: ArgumentHelp("name@pbs.", valueName: "userid")) var user: String
    @Option(help: "The password, 8 to 64 characters. By default it is asked for.") var password: String?
    @Option(help: "A remark.") var comment: String?
    @Option(help: "The mail address.") var email: String?
    @Option(help: ArgumentHelp("When the user expires, in Unix seconds; 0 for never.", valueName: "seconds"))
    var expire: Int64?
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        var parameters: JSONObject = ["userid": .string(user)]
        if let secret = try password ?? askPassword() { parameters["password"] = .string(secret) }
        if let comment { parameters["comment"] = .string(comment) }
        if let email { parameters["email"] = .string(email) }
        if let expire { parameters["expire"] = .integer(expire) }
        let user = user
        try await owner.withServer { [parameters] in
            try await $0.call("POST", "/access/users", parameters, trying: "The user \(user) cannot be made")
        }
    }

    private func askPassword() throws -> String? {
        guard Terminal.isThere, let first = Terminal.askSecret("Password of \(user): ") else { return nil }
        guard Terminal.askSecret("Once more: ") == first else {
            throw BackupFailure(.invalidInput, "The two passwords differ")
        }
        return first
    }
}

struct UserList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the users.")
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let list = try await owner.withServer {
            try await $0.call("GET", "/access/users", trying: "The users cannot be listed")
        }
        output.write(
            list.arrayValue ?? [],
            columns: [
                Column("userid", member: "userid"),
                Column("enabled") { $0["enable"]?.boolValue == false ? "no" : "yes" },
                .time("expires", member: "expire"), Column("email", member: "email"),
                Column("comment", member: "comment"),
            ])
    }
}

struct UserRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Removes a user with its tokens and rights; its backups stay.")

    @Argument(help: ArgumentHelp("name@pbs.", valueName: "userid")) var user: String
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        let user = user
        try await owner.withServer {
            try await $0.call("DELETE", userPath(user), trying: "The user \(user) cannot be removed")
        }
    }
}

struct TokenGenerate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate-token", abstract: "Makes an API token of a user and shows its secret, once.",
        discussion: "A token has no rights until `acl update` gives it some; they never exceed those of its user.")

    @Argument(help: ArgumentHelp("name@realm.", valueName: "userid")) var user: String
    @Argument(help: ArgumentHelp("The name of the token.", valueName: "token-name")) var name: String
    @Option(help: "A remark.") var comment: String?
    @Option(help: ArgumentHelp("When it expires, in Unix seconds; 0 for never.", valueName: "seconds")) var expire:
        Int64?
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        var parameters: JSONObject = [:]
        if let comment { parameters["comment"] = .string(comment) }
        if let expire { parameters["expire"] = .integer(expire) }
        let (user, name) = (user, name)
        let token = try await owner.withServer { [parameters] in
            try await $0.call(
                "POST", userPath(user, "/token/\(FormText.encode(name))"), parameters,
                trying: "The token \(user)!\(name) cannot be made")
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

    mutating func run() async throws {
        let user = user
        let list = try await owner.withServer {
            try await $0.call("GET", userPath(user, "/token"), trying: "The tokens of \(user) cannot be listed")
        }
        output.write(
            list.arrayValue ?? [],
            columns: [
                Column("tokenid", member: "tokenid"),
                Column("enabled") { $0["enable"]?.boolValue == false ? "no" : "yes" },
                .time("expires", member: "expire"), Column("comment", member: "comment"),
            ])
    }
}

struct TokenDelete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete-token", abstract: "Removes an API token with its rights.")

    @Argument(help: ArgumentHelp("name@realm.", valueName: "userid")) var user: String
    @Argument(help: ArgumentHelp("The name of the token.", valueName: "token-name")) var name: String
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        let (user, name) = (user, name)
        try await owner.withServer {
            try await $0.call(
                "DELETE", userPath(user, "/token/\(FormText.encode(name))"),
                trying: "The token \(user)!\(name) cannot be removed")
        }
    }
}
