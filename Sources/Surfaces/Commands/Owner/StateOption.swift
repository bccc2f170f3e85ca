import ArgumentParser
import BackupClient
import BackupFormats
import Platform

/// How an owner's command reaches the server: by the state folder of the one on this machine, or as any administrator
/// over the network.
struct OwnerOptions: ParsableArguments {
    @Option(help: LocalServer.stateHelp, completion: .directory) var state: String?

    @Option(
        help: ArgumentHelp(
            "Another server, as for backups; its datastore does not matter here.", valueName: "repository"))
    var repository: String?

    @discardableResult
    func withServer<Value>(_ body: (RemoteServer) async throws -> Value) async throws -> Value {
        try await open().closed(after: body)
    }

    /// What is named on the command line comes first, then what the environment names, then the usual state folder.
    private func open() async throws -> RemoteServer {
        if let state { return try await LocalServer.open(state: state) }
        if let repository { return try await Login.open(Repository(parsing: repository)) }
        if let folder = LocalServer.namedFolder() { return try await LocalServer.open(state: folder) }
        if let text = try SecretSource.repository.value(in: .current) {
            return try await Login.open(Repository(parsing: text))
        }
        if LocalServer.hasRun(in: LocalServer.usualFolder) {
            return try await LocalServer.open(state: LocalServer.usualFolder)
        }
        throw BackupFailure(
            .invalidInput, "No server is named",
            hints: [
                "Give --state (or set CAIRN_STATE) with the state folder of a server on this machine, or --repository."
            ])
    }

    /// Asks for a list and shows it, one row for each of its objects.
    func list(
        _ path: String, _ parameters: JSONObject = [:], as output: OutputOptions, columns: [Column], trying what: String
    ) async throws {
        let list = try await withServer { try await $0.call("GET", path, parameters, trying: what) }
        output.write(list.arrayValue ?? [], columns: columns)
    }

    /// Makes a call that starts a task, and shows the task's log until it ends.
    func runTask(
        _ path: String, _ parameters: JSONObject = [:], method: String = "POST", as output: OutputOptions,
        starting: String, failing: String
    ) async throws {
        try await withServer { server in
            let task = try await server.call(method, path, parameters, trying: starting)
            try await TaskLog.show(task, on: server, as: output, trying: failing)
        }
    }
}
