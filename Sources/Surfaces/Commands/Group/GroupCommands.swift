import ArgumentParser
import BackupFormats
import Platform

struct GroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "Groups of snapshots.", subcommands: [GroupList.self, GroupForget.self])
}

/// The stock client's name of `group list`.
struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the groups of a namespace.")
    @OptionGroup var command: GroupList
    mutating func run() async throws { try await command.run() }
}

struct GroupList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the groups of a namespace.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let parameters = try namespace.parameters()
        let groups = try await repository.withServer { server, repository in
            try await server.call(
                "GET", datastorePath(repository, "groups"), parameters,
                trying: "The groups of \(repository) cannot be listed")
        }
        let sorted = (groups.arrayValue ?? []).sorted { left, right in
            guard let first = BackupGroup(parsing: Self.name(left)), let second = BackupGroup(parsing: Self.name(right))
            else { return Self.name(left) < Self.name(right) }
            return first < second
        }
        output.write(
            sorted, columns: Self.columns)
    }

    static var columns: [Column] {
        [
            Column("group") { name($0) }, .time("last backup", member: "last-backup"),
            Column("count", member: "backup-count"), Column("owner", member: "owner"), Column("files", member: "files"),
            Column("comment", member: "comment"),
        ]
    }

    private static func name(_ group: JSONValue) -> String {
        "\(group["backup-type"]?.stringValue ?? "")/\(group["backup-id"]?.stringValue ?? "")"
    }
}

struct GroupForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Removes a group with all its snapshots, after a question.")

    @Argument(help: ArgumentHelp("A group as type/id.", valueName: "group")) var group: String
    @Flag(name: .customLong("yes"), help: "Do not ask.") var isSure = false
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let name = try Names.group(group)
        let parameters = try name.parameters.merging(namespace.parameters())
        let (isSure, output) = (isSure, output)
        try await repository.withServer { server, repository in
            let snapshots = try await server.call(
                "GET", datastorePath(repository, "snapshots"), parameters,
                trying: "The snapshots of \(name) cannot be listed")
            let count = snapshots.arrayValue?.count ?? 0
            guard isSure || Self.isConfirmed("Remove \(name) with its \(count) snapshots? (y/N) ") else {
                throw BackupFailure(
                    .cancelled, "\(name) stays as it is", hints: ["Add --yes where there is no terminal."])
            }
            let result = try await server.call(
                "DELETE", datastorePath(repository, "groups"), parameters, trying: "\(name) cannot be removed")
            output.write(result) { _ in "" }
        }
    }

    private static func isConfirmed(_ question: String) -> Bool {
        guard Terminal.isThere, let answer = Terminal.ask(question)?.lowercased() else { return false }
        return answer == "y" || answer == "yes"
    }
}

struct ChangeOwnerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "change-owner", abstract: "Gives a group to another user or token.")

    @Argument(help: ArgumentHelp("A group as type/id.", valueName: "group")) var group: String
    @Argument(help: ArgumentHelp("user@realm or user@realm!token.", valueName: "new-owner")) var newOwner: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption

    mutating func run() async throws {
        let name = try Names.group(group)
        let parameters = try name.parameters.merging(namespace.parameters()).merging(["new-owner": .string(newOwner)])
        try await repository.withServer { server, repository in
            try await server.call(
                "POST", datastorePath(repository, "change-owner"), parameters,
                trying: "The owner of \(name) cannot be changed")
        }
    }
}
