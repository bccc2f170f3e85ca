import ArgumentParser
import BackupFormats
import BackupProtocol

/// The path of a datastore's administration.
private func storePath(_ store: String, _ rest: String) -> String {
    "/admin/datastore/\(FormText.encode(store))/\(rest)"
}

struct GarbageCollectionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "garbage-collection", abstract: "Frees the space of chunks that no snapshot needs any more.",
        subcommands: [GarbageCollectionStart.self, GarbageCollectionStatus.self, GarbageCollectionList.self])
}

struct GarbageCollectionStart: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Starts a garbage collection and shows its log until it ends.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /admin/datastore/{store}/gc" }
    }

    @Argument(help: ArgumentHelp("The datastore.", valueName: "store")) var store: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.runTask(
            storePath(store, "gc"), settings.values, as: output,
            starting: "The garbage collection of \(store) cannot start",
            failing: "The garbage collection of \(store) failed")
    }
}

struct GarbageCollectionStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows the figures of a datastore's last garbage collection.")

    @Argument(help: ArgumentHelp("The datastore.", valueName: "store")) var store: String
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let status = try await owner.withServer {
            try await $0.call(
                "GET", storePath(store, "gc"), trying: "The garbage collection of \(store) cannot be looked at")
        }
        output.write(fields: status)
    }
}

struct GarbageCollectionList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists the garbage collections of all datastores with their schedules.")

    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "/admin/gc", as: output,
            columns: [Column("store", member: "store")] + JobColumns.schedule + [
                .size("removed", member: "removed-bytes"), .size("pending", member: "pending-bytes"),
            ], trying: "The garbage collections cannot be listed")
    }
}

/// The stock client's name of `garbage-collection start`.
struct GarbageCollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "garbage-collect",
        abstract: "Starts a garbage collection of the repository and shows its log until it ends.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await repository.withServer { server, repository in
            let task = try await server.call(
                "POST", datastorePath(repository, "gc"),
                trying: "The garbage collection of \(repository) cannot start")
            try await TaskLog.show(
                task, on: server, as: output, trying: "The garbage collection of \(repository) failed")
        }
    }
}

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Checks the snapshots of a datastore and shows the log until it ends.",
        discussion: "Chunks that are damaged are set aside, so that the next backup uploads them again.")

    enum Settings: EndpointChoice {
        static var endpoint: String { "POST /admin/datastore/{store}/verify" }
    }

    @Argument(help: ArgumentHelp("The datastore.", valueName: "store")) var store: String
    @OptionGroup var settings: EndpointOptions<Settings>
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.runTask(
            storePath(store, "verify"), settings.values, as: output,
            starting: "The verification of \(store) cannot start", failing: "The verification of \(store) failed")
    }
}
