import ArgumentParser
import BackupClient
import BackupFormats
import BackupHTTP2
import Platform

struct ACLCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acl", abstract: "Who may do what.", subcommands: [ACLUpdate.self, ACLList.self])
}

struct ACLUpdate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Gives a role on a path to a user or token, or takes it away.")

    @Argument(help: ArgumentHelp("For example /datastore/NAME.", valueName: "path")) var path: String
    @Argument(help: ArgumentHelp("For example DatastoreBackup, DatastoreAdmin, Admin, Audit.", valueName: "role"))
    var role: String
    @Option(help: ArgumentHelp("user@realm or user@realm!token.", valueName: "id")) var authId: String
    @Option(help: "Whether the role holds below the path as well: true or false.") var propagate: Bool?
    @Flag(help: "Take the role away.") var delete = false
    @OptionGroup var owner: OwnerOptions

    mutating func run() async throws {
        var parameters: JSONObject = ["path": .string(path), "role": .string(role), "auth-id": .string(authId)]
        if let propagate { parameters["propagate"] = .bool(propagate) }
        if delete { parameters["delete"] = true }
        let path = path
        try await owner.withServer { [parameters] in
            try await $0.call("PUT", "/access/acl", parameters, trying: "The rights on \(path) cannot be changed")
        }
    }
}

struct ACLList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists who has which role where.")
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let list = try await owner.withServer {
            try await $0.call("GET", "/access/acl", trying: "The rights cannot be listed")
        }
        output.write(
            list.arrayValue ?? [],
            columns: [
                Column("path", member: "path"), Column("id", member: "ugid"), Column("role", member: "roleid"),
                Column("propagate") { item in
                    let value = item["propagate"]
                    return value?.boolValue == true || value?.intValue == 1 ? "yes" : "no"
                },
            ])
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
