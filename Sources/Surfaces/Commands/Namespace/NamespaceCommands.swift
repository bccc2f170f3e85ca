import ArgumentParser
import BackupFormats

struct NamespaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "namespace", abstract: "Namespaces of a datastore.",
        subcommands: [NamespaceList.self, NamespaceCreate.self, NamespaceDelete.self])
}

struct NamespaceList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists namespaces.")

    @Argument(help: ArgumentHelp("Where to begin. By default at the root.", valueName: "namespace")) var namespace:
        String?
    @Option(help: "Levels below the first, 0 to 7.") var maxDepth: Int?
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        var parameters: JSONObject = [:]
        if let namespace, !namespace.isEmpty { parameters["parent"] = .string(namespace) }
        if let maxDepth { parameters["max-depth"] = .integer(maxDepth) }
        let list = try await repository.withServer { [parameters] server, repository in
            try await server.call(
                "GET", datastorePath(repository, "namespace"), parameters,
                trying: "The namespaces of \(repository) cannot be listed")
        }
        output.write(list) { value in
            (value.arrayValue ?? []).map { $0["ns"]?.stringValue ?? "" }.map { $0.isEmpty ? "(root)" : $0 }
                .joined(separator: "\n")
        }
    }
}

struct NamespaceCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Makes a namespace.")

    @Argument(help: ArgumentHelp("The namespace, as a/b/c; the ones above it must exist.", valueName: "namespace"))
    var namespace: String
    @OptionGroup var repository: RepositoryOptions

    mutating func run() async throws {
        let name = try NamespaceName.parse(namespace)
        guard let last = name.components.last, let parent = name.parent else {
            throw BackupFailure(.invalidInput, "The root namespace is always there")
        }
        var parameters: JSONObject = ["name": .string(last)]
        if !parent.isRoot { parameters["parent"] = .string(parent.description) }
        try await repository.withServer { [parameters] server, repository in
            try await server.call(
                "POST", datastorePath(repository, "namespace"), parameters,
                trying: "The namespace \(name) cannot be made")
        }
    }
}

struct NamespaceDelete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Removes a namespace.")

    @Argument(help: ArgumentHelp("The namespace, as a/b/c.", valueName: "namespace")) var namespace: String
    @Flag(help: "Remove its groups as well; without this it must be empty.") var deleteGroups = false
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let name = try NamespaceName.parse(namespace)
        guard !name.isRoot else { throw BackupFailure(.invalidInput, "The root namespace cannot be removed") }
        var parameters: JSONObject = ["ns": .string(name.description)]
        if deleteGroups { parameters["delete-groups"] = true }
        let result = try await repository.withServer { [parameters] server, repository in
            try await server.call(
                "DELETE", datastorePath(repository, "namespace"), parameters,
                trying: "The namespace \(name) cannot be removed")
        }
        output.write(result) { _ in "" }
    }
}

enum NamespaceName {
    static func parse(_ text: String) throws -> Namespace {
        do { return try Namespace(parsing: text) } catch {
            throw BackupFailure(.invalidInput, "'\(text)' is no namespace", cause: error)
        }
    }
}
