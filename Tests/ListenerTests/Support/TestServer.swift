import BackupFormats
import BackupHTTP2
import Listener
import Logging
import Platform

/// A listener on a free port of 127.0.0.1 with a certificate in a folder of its own.
final class TestServer: Sendable {
    let listener: Listener
    let address: ListenerAddress
    let rest: FakeREST
    let folder: String

    var session: FakeSession { rest.session }
    var server: ServerAddress { ServerAddress(host: "127.0.0.1", port: address.port) }

    init(
        rest: FakeREST = FakeREST(), _ change: (inout ListenerConfiguration) -> Void = { _ in }
    ) async throws {
        folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-listener-")
        var configuration = ListenerConfiguration(
            address: "127.0.0.1", port: 0, certificate: .selfSigned(folder: folder, names: ["test.example"]))
        configuration.stopGrace = .milliseconds(300)
        change(&configuration)
        self.rest = rest
        listener = try Listener(
            configuration: configuration, handler: rest, time: .system, logger: Logger(label: "test"))
        address = try await listener.start()
    }

    func connect(_ change: (inout ConnectionOptions) -> Void = { _ in }) async throws -> ServerConnection {
        var options = ConnectionOptions()
        change(&options)
        let trust = address.fingerprint.map { ServerTrust.fingerprint($0) } ?? .system
        return try await ServerConnection.connect(to: server, trust: trust, options: options)
    }

    /// Stops the listener and removes its folder.
    func end() async {
        session.open()
        await listener.stop()
        try? FileSystem.removeTree(folder)
    }
}

/// Runs `body` with a server and ends it whatever happens.
func withServer(
    rest: FakeREST = FakeREST(), _ change: (inout ListenerConfiguration) -> Void = { _ in },
    _ body: (TestServer) async throws -> Void
) async throws {
    let server = try await TestServer(rest: rest, change)
    do {
        try await body(server)
    } catch {
        await server.end()
        throw error
    }
    await server.end()
}
