import ArgumentParser
import BackupClient
import BackupFormats
import Platform

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Logs in and keeps the ticket for the next two hours.")
    @OptionGroup var repository: RepositoryOptions

    mutating func run() async throws {
        try await repository.withServer { server, repository in
            try await server.call("GET", "/version", trying: "\(repository.serverName) does not accept the login")
        }
    }
}

struct LogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "logout", abstract: "Forgets the ticket of a login.")
    @OptionGroup var repository: RepositoryOptions

    mutating func run() async throws {
        let repository = try repository.resolve()
        try ClientFiles(environment: .current).setTicket(
            nil, of: repository.authID, at: repository.serverName, now: TimeSource.system.seconds)
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Shows the space of a datastore.")
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let status = try await repository.withServer { server, repository in
            try await server.call(
                "GET", datastorePath(repository, "status"), trying: "The status of \(repository) cannot be read")
        }
        output.write(status) { value in
            let total = value["total"]?.intValue ?? 0
            let rows = ["total", "used", "avail"].map { name in
                let bytes = value[name]?.intValue ?? 0
                let share = total > 0 ? "\(bytes * 100 / total) %" : ""
                return [name, ByteSize.text(bytes), share]
            }
            return Table.render(["space", "size", "share"], rows)
        }
    }
}

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Shows the version of this program and, where a server is named, of that.")
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        var versions: JSONObject = ["client": .string(CairnVersion.text)]
        if try repository.isNamed() {
            versions["server"] = try await repository.withServer(anyStore: { server, _ in
                try await server.call("GET", "/version", trying: "\(server.address) does not tell its version")
            })
        }
        output.write(.object(versions)) { value in
            var lines = ["client version: \(CairnVersion.text)"]
            if let server = value["server"] {
                let version = server["version"]?.stringValue ?? "?"
                lines.append("server version: \(version).\(Column.text(server["release"]))")
            }
            return lines.joined(separator: "\n")
        }
    }
}
