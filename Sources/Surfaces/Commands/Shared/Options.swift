import ArgumentParser
import BackupClient
import BackupFormats
import BackupHTTP2
import BackupProtocol
import Platform

/// Which datastore: of a repository, or of the server on this machine.
struct RepositoryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The datastore: [[user@realm[!token]@]host[:port]:]name. By default PBS_REPOSITORY.",
            valueName: "repository"))
    var repository: String?

    @Option(help: ArgumentHelp("A datastore of the server on this machine, as its owner.", valueName: "name"))
    var store: String?

    @Option(help: LocalServer.stateHelp, completion: .directory) var state: String?

    func validate() throws {
        guard repository == nil || store == nil && state == nil else {
            throw ValidationError("--repository and --store or --state exclude each other")
        }
    }

    func resolve(_ environment: Environment = .current) throws -> Repository {
        guard let text = try repository ?? SecretSource.repository.value(in: environment) else {
            throw BackupFailure(
                .invalidInput, "No repository is named",
                hints: [
                    "Give --repository, or set PBS_REPOSITORY; for the server on this machine give --store and --state."
                ])
        }
        return try Repository(parsing: text)
    }

    /// Logs in, and closes the connection when `body` is done.
    @discardableResult
    func withServer<Value>(
        options: RateOptions? = nil, _ body: (RemoteServer, Repository) async throws -> Value
    ) async throws -> Value {
        let connection = try options?.connectionOptions() ?? ConnectionOptions()
        if let store {
            return try await local(connection).closed(after: { server in
                let address = server.address
                return try await body(server, Repository(host: address.host, port: address.port, datastore: store))
            })
        }
        guard state == nil else {
            throw BackupFailure(
                .invalidInput, "No datastore is named",
                hints: ["Give --store with a datastore of the server on this machine."])
        }
        let repository = try resolve()
        return try await Login.open(repository, options: connection).closed(after: { try await body($0, repository) })
    }

    /// Like ``withServer(options:_:)`` for calls that may do without a datastore: none is given where only --state
    /// is, or where nothing names a server and one runs on this machine.
    @discardableResult
    func withServer<Value>(
        anyStore body: (RemoteServer, _ datastore: String?) async throws -> Value
    ) async throws -> Value {
        let isLocal = try store != nil || state != nil || isOnlyLocal()
        if isLocal { return try await local().closed(after: { try await body($0, store) }) }
        return try await withServer { try await body($0, $1.datastore) }
    }

    /// Whether the command line or the environment names a server.
    func isNamed() throws -> Bool {
        if repository != nil || store != nil || state != nil || LocalServer.namedFolder() != nil { return true }
        return try SecretSource.repository.value(in: .current).map { !$0.isEmpty } ?? false
    }

    private func isOnlyLocal() throws -> Bool {
        guard repository == nil else { return false }
        if LocalServer.namedFolder() != nil { return true }
        return try SecretSource.repository.value(in: .current) == nil && LocalServer.hasRun(in: LocalServer.usualFolder)
    }

    private func local(_ options: ConnectionOptions = ConnectionOptions()) async throws -> RemoteServer {
        try await LocalServer.open(
            state: state ?? LocalServer.namedFolder() ?? LocalServer.usualFolder, options: options)
    }
}

/// A namespace of the datastore.
struct NamespaceOption: ParsableArguments {
    @Option(name: .customLong("ns"), help: ArgumentHelp("The namespace, as a/b/c.", valueName: "namespace"))
    var text: String?

    func resolve() throws -> Namespace {
        do { return try Namespace(parsing: text ?? "") } catch {
            throw BackupFailure(.invalidInput, "'\(text ?? "")' is no namespace", cause: error)
        }
    }

    /// The parameter of API calls; none for the root.
    func parameters() throws -> JSONObject {
        let namespace = try resolve()
        return namespace.isRoot ? [:] : ["ns": .string(namespace.description)]
    }
}

/// Names that stand on the command line.
enum Names {
    static func group(_ text: String) throws -> BackupGroup {
        guard let group = BackupGroup(parsing: text) else {
            throw BackupFailure(
                .invalidInput, "'\(text)' is no group", hints: ["A group is type/id, for example host/web."])
        }
        return group
    }

    static func snapshot(_ text: String) throws -> SnapshotName {
        guard let snapshot = SnapshotName(parsing: text) else {
            throw BackupFailure(
                .invalidInput, "'\(text)' is no snapshot",
                hints: ["A snapshot is type/id/time, for example host/web/2024-06-01T00:00:00Z."])
        }
        return snapshot
    }
}

extension BackupGroup {
    /// As parameters of API calls.
    var parameters: JSONObject { ["backup-type": .string(type.rawValue), "backup-id": .string(id)] }
}

extension SnapshotName {
    /// As parameters of API calls.
    var parameters: JSONObject { group.parameters.merging(["backup-time": .integer(time)]) }
}

extension JSONObject {
    /// These members and the others; of the same name, the others.
    func merging(_ others: JSONObject) -> JSONObject { JSONObject(members + others.members) }
}

/// The path of a datastore's calls.
func datastorePath(_ repository: Repository, _ rest: String = "") -> String {
    "/admin/datastore/\(FormText.encode(repository.datastore))" + (rest.isEmpty ? "" : "/" + rest)
}
