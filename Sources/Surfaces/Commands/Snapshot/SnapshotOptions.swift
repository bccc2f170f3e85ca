import ArgumentParser
import BackupFormats

/// The snapshot that a command is about, and where it is.
struct SnapshotOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var text: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption

    func name() throws -> SnapshotName { try Names.snapshot(text) }

    /// The parameters of API calls that name it.
    func parameters() throws -> JSONObject { try name().parameters.merging(namespace.parameters()) }

    /// A call about it; `endpoint` stands below the datastore's path.
    @discardableResult
    func call(
        _ method: String, _ endpoint: String, _ others: JSONObject = [:], trying: (SnapshotName) -> String
    ) async throws -> JSONValue {
        let (name, parameters) = (try name(), try parameters().merging(others))
        return try await repository.withServer { server, repository in
            try await server.call(method, datastorePath(repository, endpoint), parameters, trying: trying(name))
        }
    }
}
