import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

enum Users: ConfiguredObject {
    static var noun: String { "user" }
    static var path: String { "/access/users" }
    static var idName: String { "userid" }
    static var columns: [Column] {
        [
            Column("userid", member: "userid"), isEnabled, .time("expires", member: "expire"),
            Column("email", member: "email"), Column("comment", member: "comment"),
        ]
    }

    static var isEnabled: Column { Column("enabled") { $0["enable"]?.boolValue == false ? "no" : "yes" } }
}

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Users of a server and their API tokens.",
        subcommands: [
            ObjectList<Users>.self, ObjectShow<Users>.self, UserCreate.self, ObjectUpdate<Users>.self,
            ObjectRemove<Users>.self, UserPassword.self, UserPermissions.self, TokenList.self, TokenGenerate.self,
            TokenDelete.self,
        ])
}

struct UserCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Makes a user.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /access/users" }
        static var omitted: Set<String> { ["userid", "password"] }
    }

    @Argument(help: ArgumentHelp("name@pbs.", valueName: "userid")) var user: String
    @Option(help: "The password, 8 to 64 characters. By default it is asked for.") var password: String?
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        var parameters = settings.values.merging(["userid": .string(user)])
        if let secret = try password ?? Passwords.new(for: user) { parameters["password"] = .string(secret) }
        try await owner.withServer { [parameters] in
            try await $0.call("POST", "/access/users", parameters, trying: "The user \(user) cannot be made")
        }
    }
}

struct UserPassword: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "passwd", abstract: "Sets the password of a user.")

    @Argument(help: ArgumentHelp("name@pbs.", valueName: "userid")) var user: String
    @Option(help: "The password, 8 to 64 characters. By default it is asked for.") var password: String?
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        guard let secret = try password ?? Passwords.new(for: user) else {
            throw BackupFailure(
                .invalidInput, "There is no new password", hints: ["Give --password where there is no terminal."])
        }
        let parameters: JSONObject = ["userid": .string(user), "password": .string(secret)]
        try await owner.withServer {
            try await $0.call(
                "PUT", "/access/password", parameters, trying: "The password of \(user) cannot be changed")
        }
    }
}

struct UserPermissions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "permissions", abstract: "Lists what a user or token may do.",
        discussion: "A star marks privileges that hold below the path as well.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "GET /access/permissions" }
        static var omitted: Set<String> { ["auth-id"] }
    }

    @Argument(help: ArgumentHelp("user@realm or user@realm!token.", valueName: "auth-id")) var id: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let parameters = settings.values.merging(["auth-id": .string(id)])
        let paths = try await owner.withServer {
            try await $0.call(
                "GET", "/access/permissions", parameters, trying: "The permissions of \(id) cannot be listed")
        }
        output.write(paths) { value in
            let rows = (value.objectValue?.members ?? []).map { path in
                let held = (path.value.objectValue?.members ?? []).map { privilege in
                    let propagates = privilege.value.boolValue == true || privilege.value.intValue == 1
                    return privilege.name + (propagates ? "*" : "")
                }
                return [path.name, held.joined(separator: " ")]
            }
            return rows.isEmpty ? "" : Table.render(["path", "privileges"], rows)
        }
    }
}
