import ArgumentParser
import BackupClient
import BackupFormats
import BackupHTTP2
import ManagementAPI
import Platform

struct ACLCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acl", abstract: "Who may do what.", subcommands: [ACLUpdate.self, ACLList.self])
}

struct ACLUpdate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Gives a role on a path to a user or token, or takes it away.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "PUT /access/acl" }
        static var omitted: Set<String> { ["path", "role", "group"] }
    }

    @Argument(help: ArgumentHelp("For example /datastore/NAME.", valueName: "path")) var path: String
    @Argument(
        help: ArgumentHelp("For example DatastoreBackup, DatastoreAdmin, Admin, Audit.", valueName: "role"),
        completion: .list(Endpoint.roleNames))
    var role: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        let parameters = settings.values.merging(["path": .string(path), "role": .string(role)])
        try await owner.withServer {
            try await $0.call("PUT", "/access/acl", parameters, trying: "The rights on \(path) cannot be changed")
        }
    }
}

struct ACLList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists who has which role where.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "GET /access/acl" }
    }

    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "/access/acl", settings.values, as: output,
            columns: [
                Column("path", member: "path"), Column("id", member: "ugid"), Column("role", member: "roleid"),
                Column("propagate") { item in
                    let value = item["propagate"]
                    return value?.boolValue == true || value?.intValue == 1 ? "yes" : "no"
                },
            ], trying: "The rights cannot be listed")
    }
}

struct CertificateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cert", abstract: "The certificate of a server.", subcommands: [CertificateInfo.self])
}

struct CertificateInfo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Shows the fingerprint that clients ask about.")
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let value: JSONValue = try await owner.withServer { server in
            [
                "address": .string(server.address.description),
                "fingerprint": .string(server.connection.fingerprint?.description ?? ""),
            ]
        }
        output.write(value) { "Fingerprint (sha256): \($0["fingerprint"]?.stringValue ?? "")" }
    }
}
