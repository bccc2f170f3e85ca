import ArgumentParser
import BackupFormats
import BackupProtocol
import Platform

enum Remotes: ConfiguredObject {
    static var noun: String { "remote" }
    static var path: String { "/config/remote" }
    static var idName: String { "name" }
    static var columns: [Column] {
        [
            Column("name", member: "name"), Column("host", member: "host"), Column("port", member: "port"),
            Column("auth-id", member: "auth-id"), Column("fingerprint", member: "fingerprint"),
            Column("comment", member: "comment"),
        ]
    }
}

struct RemoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remote", abstract: "Other servers that this one copies from and to.",
        subcommands: [
            ObjectList<Remotes>.self, ObjectShow<Remotes>.self, RemoteCreate.self, ObjectUpdate<Remotes>.self,
            ObjectRemove<Remotes>.self, RemoteScan.self,
        ])
}

struct RemoteCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a remote.",
        discussion: "Without --password it is asked for on a terminal; else PBS_PASSWORD gives it.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /config/remote" }
        static var omitted: Set<String> { ["name", "password"] }
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: "name")) var name: String
    @Option(help: "The password of the user, or the secret of the token, at the other server.") var password: String?
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        var parameters = settings.values.merging(["name": .string(name)])
        if let password = try password ?? Passwords.given(for: "the other server") {
            parameters["password"] = .string(password)
        }
        try await owner.withServer { [parameters] in
            try await $0.call("POST", "/config/remote", parameters, trying: "The remote \(name) cannot be made")
        }
    }
}

struct RemoteScan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scan", abstract: "Lists what a remote has: its datastores, or the namespaces or groups of one.")

    @Argument(help: ArgumentHelp("The remote.", valueName: "name")) var name: String
    @Argument(help: ArgumentHelp("One of its datastores.", valueName: "remote-store")) var store: String?
    @Flag(help: "List the groups of the datastore instead of its namespaces.") var groups = false
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard store != nil || !groups else { throw ValidationError("--groups needs the datastore of the remote") }
    }

    func run() async throws {
        var path = Remotes.path(of: name) + "/scan"
        var parameters: JSONObject = [:]
        if let store {
            path += "/\(FormText.encode(store))/\(groups ? "groups" : "namespaces")"
            if groups, let text = namespace.text { parameters["namespace"] = .string(text) }
        }
        let columns =
            switch (store, groups) {
            case (nil, _):
                [
                    Column("store", member: "store"), Column("maintenance", member: "maintenance"),
                    Column("comment", member: "comment"),
                ]
            case (_, true): GroupList.columns
            case (_, false):
                [Column("ns") { $0["ns"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 } ?? "(root)" }]
            }
        try await owner.list(
            path, parameters, as: output, columns: columns, trying: "The remote \(name) cannot be looked at")
    }
}
