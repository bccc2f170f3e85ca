import ArgumentParser
import BackupFormats
import BackupProtocol

/// A kind of thing that the server's configuration lists: the verbs of its command are the same for every kind.
protocol ConfiguredObject: Sendable {
    /// What one is called in sentences: `prune job`.
    static var noun: String { get }
    /// Where they stand in the API: `/config/prune`.
    static var path: String { get }
    /// The parameter that names one.
    static var idName: String { get }
    /// The call that lists them, with its parameters.
    static var listing: (path: String, parameters: JSONObject) { get }
    static var columns: [Column] { get }
}

extension ConfiguredObject {
    static var idName: String { "id" }
    static var listing: (path: String, parameters: JSONObject) { (path, [:]) }
    static func path(of id: String) -> String { "\(path)/\(FormText.encode(id))" }
}

struct ObjectList<Object: ConfiguredObject>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "list", abstract: "Lists the \(Object.noun)s.")
    }

    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (path, parameters) = Object.listing
        try await owner.list(
            path, parameters, as: output, columns: Object.columns, trying: "The \(Object.noun)s cannot be listed")
    }
}

struct ObjectShow<Object: ConfiguredObject>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "show", abstract: "Shows the settings of one \(Object.noun).")
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: Object.idName)) var id: String
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let settings = try await owner.withServer {
            try await $0.call("GET", Object.path(of: id), trying: "The \(Object.noun) \(id) cannot be shown")
        }
        output.write(fields: settings)
    }
}

struct ObjectCreate<Object: ConfiguredObject>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "create", abstract: "Makes a \(Object.noun).")
    }

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST \(Object.path)" }
        static var omitted: Set<String> { [Object.idName] }
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: Object.idName)) var id: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        let parameters = settings.values.merging([Object.idName: .string(id)])
        try await owner.withServer {
            try await $0.call("POST", Object.path, parameters, trying: "The \(Object.noun) \(id) cannot be made")
        }
    }
}

struct ObjectUpdate<Object: ConfiguredObject>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "update", abstract: "Changes settings of a \(Object.noun).")
    }

    enum Settings: EndpointChoice {
        static var endpoint: String { "PUT \(Object.path)/{\(Object.idName)}" }
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: Object.idName)) var id: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call(
                "PUT", Object.path(of: id), settings.values, trying: "The \(Object.noun) \(id) cannot be changed")
        }
    }
}

struct ObjectRemove<Object: ConfiguredObject>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "remove", abstract: "Removes a \(Object.noun).")
    }

    enum Settings: EndpointChoice {
        static var endpoint: String { "DELETE \(Object.path)/{\(Object.idName)}" }
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: Object.idName)) var id: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call(
                "DELETE", Object.path(of: id), settings.values, trying: "The \(Object.noun) \(id) cannot be removed")
        }
    }
}
