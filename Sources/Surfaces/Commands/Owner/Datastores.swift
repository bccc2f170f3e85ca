import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

struct DatastoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "datastore", abstract: "Datastores of a server.",
        subcommands: [DatastoreCreate.self, DatastoreList.self, DatastoreRemove.self])
}

struct DatastoreCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a datastore, or adds one that exists.")

    @Argument(help: ArgumentHelp("Its name, 3 to 32 characters.", valueName: "name")) var name: String
    @Argument(help: ArgumentHelp("Its folder.", valueName: "path")) var path: String
    @Flag(help: "The folder holds a datastore already; use it as it is.") var reuse = false
    @Option(help: "A remark.") var comment: String?
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        var parameters: JSONObject = ["name": .string(name), "path": .string(try absolute(path))]
        if reuse { parameters["reuse-datastore"] = true }
        if let comment { parameters["comment"] = .string(comment) }
        let failure = "The datastore \(name) cannot be made"
        try await owner.withServer { [parameters] server in
            let task = try await server.call("POST", "/config/datastore", parameters, trying: failure)
            if let upid = task.stringValue { try await TaskLog.wait(for: upid, on: server, trying: failure) }
        }
        Output.note("The datastore \(name) is ready.")
    }

    /// The server runs elsewhere: it needs the whole path.
    private func absolute(_ path: String) throws -> String {
        if path.hasPrefix("/") { return path }
        do { return "\(try FileSystem.realPath("."))/\(path)" } catch {
            throw error.failure("The current folder has no path")
        }
    }
}

struct DatastoreList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the datastores.")
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let list = try await owner.withServer {
            try await $0.call("GET", "/config/datastore", trying: "The datastores cannot be listed")
        }
        output.write(
            list.arrayValue ?? [],
            columns: [
                Column("name", member: "name"), Column("path", member: "path"), Column("comment", member: "comment"),
            ])
    }
}

struct DatastoreRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Takes a datastore away from the server; its folder stays.")

    @Argument(help: ArgumentHelp("Its name.", valueName: "name")) var name: String
    @Flag(help: "Remove the backups as well. This cannot be undone.") var destroyData = false
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        var parameters: JSONObject = [:]
        if destroyData { parameters["destroy-data"] = true }
        let failure = "The datastore \(name) cannot be removed"
        let path = "/config/datastore/\(FormText.encode(name))"
        try await owner.withServer { [parameters] server in
            let task = try await server.call("DELETE", path, parameters, trying: failure)
            if let upid = task.stringValue { try await TaskLog.wait(for: upid, on: server, trying: failure) }
        }
    }
}
