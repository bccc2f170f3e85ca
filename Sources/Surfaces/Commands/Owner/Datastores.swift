import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

enum Datastores: ConfiguredObject {
    static var noun: String { "datastore" }
    static var path: String { "/config/datastore" }
    static var idName: String { "name" }
    static var columns: [Column] {
        [
            Column("name", member: "name"), Column("path", member: "path"),
            Column("maintenance", member: "maintenance-mode"), Column("comment", member: "comment"),
        ]
    }
}

struct DatastoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "datastore", abstract: "Datastores of a server.",
        subcommands: [
            ObjectList<Datastores>.self, ObjectShow<Datastores>.self, DatastoreCreate.self,
            ObjectUpdate<Datastores>.self, DatastoreRemove.self,
        ])
}

struct DatastoreCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a datastore, or adds one that exists.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /config/datastore" }
        static var omitted: Set<String> { ["name", "path", "reuse-datastore"] }
    }

    @Argument(help: ArgumentHelp("Its name, 3 to 32 characters.", valueName: "name")) var name: String
    @Argument(help: ArgumentHelp("Its folder.", valueName: "path"), completion: .directory) var path: String
    @Flag(
        name: [.long, .customLong("reuse-datastore")], help: "The folder holds a datastore already; use it as it is.")
    var reuse = false
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var parameters = settings.values.merging(["name": .string(name), "path": .string(try absolute(path))])
        if reuse { parameters["reuse-datastore"] = true }
        let failure = "The datastore \(name) cannot be made"
        try await owner.runTask(
            "/config/datastore", parameters, as: output, starting: failure, failing: failure)
    }

    /// The server runs elsewhere: it needs the whole path.
    private func absolute(_ path: String) throws -> String {
        if path.hasPrefix("/") { return path }
        do { return "\(try FileSystem.realPath("."))/\(path)" } catch {
            throw error.failure("The current folder has no path")
        }
    }
}

struct DatastoreRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Takes a datastore away from the server; its folder stays.",
        discussion: "With --destroy-data its backups are removed as well, which cannot be undone.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "DELETE /config/datastore/{name}" }
    }

    @Argument(help: ArgumentHelp("Its name.", valueName: "name")) var name: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let failure = "The datastore \(name) cannot be removed"
        try await owner.runTask(
            Datastores.path(of: name), settings.values, method: "DELETE", as: output, starting: failure,
            failing: failure)
    }
}
