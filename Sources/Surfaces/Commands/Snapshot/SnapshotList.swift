import ArgumentParser
import BackupFormats

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Snapshots of a datastore.",
        subcommands: [
            SnapshotList.self, SnapshotFiles.self, SnapshotForget.self, SnapshotNotes.self, SnapshotProtected.self,
            SnapshotUploadLog.self,
        ])
}

/// The old name of `snapshot list`.
struct SnapshotsAlias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots", abstract: "As snapshot list.", shouldDisplay: false)
    @OptionGroup var command: SnapshotList
    mutating func run() async throws { try await command.run() }
}

struct SnapshotList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists the snapshots of a group, or of all groups of a namespace.")

    @Argument(help: ArgumentHelp("A group as type/id.", valueName: "group")) var group: String?
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        var parameters = try namespace.parameters()
        if let group { parameters = try parameters.merging(Names.group(group).parameters) }
        let snapshots = try await repository.withServer { server, repository in
            try await server.call(
                "GET", datastorePath(repository, "snapshots"), parameters,
                trying: "The snapshots of \(repository) cannot be listed")
        }
        let sorted = (snapshots.arrayValue ?? []).sorted { Self.key($0) < Self.key($1) }
        output.write(
            sorted,
            columns: [
                Column("snapshot") { Self.name($0) },
                .size("size", member: "size"),
                Column("files") { snapshot in
                    (snapshot["files"]?.arrayValue ?? []).compactMap { Self.fileName($0) }.joined(separator: " ")
                },
                Column("protected") { $0["protected"]?.boolValue == true ? "yes" : "" },
                Column("verified") { Column.text($0["verification"]?["state"]) },
                Column("comment", member: "comment"),
            ])
    }

    private static func key(_ snapshot: JSONValue) -> SnapshotKey {
        SnapshotKey(
            type: snapshot["backup-type"]?.stringValue ?? "", id: snapshot["backup-id"]?.stringValue ?? "",
            time: snapshot["backup-time"]?.intValue ?? 0)
    }

    static func name(_ snapshot: JSONValue) -> String {
        let key = key(snapshot)
        return "\(key.type)/\(key.id)/\(BackupTime.text(key.time))"
    }

    private static func fileName(_ file: JSONValue) -> String? {
        file["filename"]?.stringValue ?? file.stringValue
    }

    private struct SnapshotKey: Comparable {
        let type: String
        let id: String
        let time: Int64

        static func < (left: Self, right: Self) -> Bool {
            let leftGroup = BackupGroup(parsing: "\(left.type)/\(left.id)")
            let rightGroup = BackupGroup(parsing: "\(right.type)/\(right.id)")
            if let leftGroup, let rightGroup, leftGroup != rightGroup { return leftGroup < rightGroup }
            return left.time < right.time
        }
    }
}
