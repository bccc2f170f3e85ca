import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import BackupHTTP2
import Platform

/// Which datastore, and how the connection may be used.
struct RepositoryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The datastore: [[user@realm[!token]@]host[:port]:]name. By default PBS_REPOSITORY.",
            valueName: "repository"))
    var repository: String?

    func resolve(_ environment: Environment = .current) throws -> Repository {
        guard let text = try repository ?? SecretSource.repository.value(in: environment) else {
            throw BackupFailure(
                .invalidInput, "No repository is named", hints: ["Give --repository, or set PBS_REPOSITORY."])
        }
        return try Repository(parsing: text)
    }

    /// Logs in, and closes the connection when `body` is done.
    @discardableResult
    func withServer<Value>(
        options: RateOptions? = nil, _ body: (RemoteServer, Repository) async throws -> Value
    ) async throws -> Value {
        let repository = try resolve()
        let server = try await Login.open(repository, options: options?.connectionOptions() ?? ConnectionOptions())
        do {
            let value = try await body(server, repository)
            await server.close()
            return value
        } catch {
            await server.close()
            throw error
        }
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
