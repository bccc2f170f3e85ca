import ArgumentParser
import BackupClient
import BackupFormats
import Platform

/// How an owner's command reaches the server: by the state folder of the one on this machine, or, without it, as any
/// administrator over the network.
struct OwnerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The state folder of the server on this machine; acts as its owner.", valueName: "folder"))
    var state: String?

    @Option(
        help: ArgumentHelp(
            "Another server, as for backups; its datastore does not matter here.", valueName: "repository"))
    var repository: String?

    @discardableResult
    func withServer<Value>(_ body: (RemoteServer) async throws -> Value) async throws -> Value {
        let server = try await open()
        do {
            let value = try await body(server)
            await server.close()
            return value
        } catch {
            await server.close()
            throw error
        }
    }

    private func open() async throws -> RemoteServer {
        if let state { return try await LocalServer.open(state: state) }
        guard let text = try repository ?? SecretSource.repository.value(in: .current) else {
            throw BackupFailure(
                .invalidInput, "No server is named",
                hints: ["Give --state with the state folder of a server on this machine, or --repository."])
        }
        return try await Login.open(Repository(parsing: text))
    }
}
