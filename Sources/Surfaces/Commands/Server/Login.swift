import BackupClient
import BackupFormats
import BackupHTTP2
import Platform

/// Getting from a repository to a server that knows who asks. (Spec: rest D.2, G.1.)
enum Login {
    /// How the person and the environment are asked.
    struct Surroundings: Sendable {
        var environment: Environment = .current
        var isInteractive: Bool = Terminal.isThere
        var time: TimeSource = .system
        var files: ClientFiles { ClientFiles(environment: environment) }
    }

    /// Connects and logs in: an API token by its secret; a user by the password of the environment, else by a ticket
    /// of an earlier login, else by a password that is asked for.
    static func open(
        _ repository: Repository, _ surroundings: Surroundings = Surroundings(),
        options: ConnectionOptions = ConnectionOptions()
    ) async throws -> RemoteServer {
        let connection = try await connect(repository, surroundings, options: options)
        let user = repository.authID
        let password = try SecretSource.password.value(in: surroundings.environment)
        if user.isToken {
            guard let password else {
                throw BackupFailure(
                    .notAuthenticated, "The secret of the token \(user) is missing",
                    hints: ["Set PBS_PASSWORD to the secret of the token."])
            }
            return RemoteServer(connection: connection, credentials: .token(user, secret: password))
        }
        let server = repository.serverName
        if password == nil,
            let ticket = surroundings.files.ticket(of: user, at: server, now: surroundings.time.seconds)
        {
            return RemoteServer(connection: connection, credentials: .ticket(ticket, of: user))
        }
        guard let password = password ?? askPassword(of: user, at: server, surroundings) else {
            throw BackupFailure(
                .notAuthenticated, "There is no password for \(user) at \(server)",
                hints: ["Set PBS_PASSWORD, or log in on a terminal with `cairn login`."])
        }
        let ticket = try await Self.ticket(for: user, password: password, over: connection, time: surroundings.time)
        // A cache that cannot be written costs a login next time, nothing more.
        try? surroundings.files.setTicket(ticket, of: user, at: server, now: surroundings.time.seconds)
        return RemoteServer(connection: connection, credentials: .ticket(ticket, of: user))
    }

    private static func askPassword(of user: AuthID, at server: String, _ surroundings: Surroundings) -> String? {
        surroundings.isInteractive ? Terminal.askSecret("Password for \(user) at \(server): ") : nil
    }

    /// Asks for a ticket. A ticket that is still valid may stand in for the password.
    static func ticket(
        for user: AuthID, password: String, over connection: ServerConnection, time: TimeSource
    ) async throws -> LoginTicket {
        let body: JSONValue = ["username": .string(user.description), "password": .string(password)]
        let response = try await connection.send(
            HTTPRequest(
                method: "POST", target: RemoteServer.apiRoot + "/access/ticket",
                headers: [("content-type", "application/json")], body: Array(body.compactText.utf8)))
        guard response.status == 200 else {
            let failure = ServerAnswer.failure(response)
            throw BackupFailure(
                failure.kind, "\(user) cannot log in at \(connection.address)", hints: failure.hints, cause: failure)
        }
        let data = try? JSONValue(parsing: response.bytes)["data"]
        guard let ticket = data?["ticket"]?.stringValue, let csrf = data?["CSRFPreventionToken"]?.stringValue else {
            throw BackupFailure(.corruptData, "The server's answer to the login has no ticket")
        }
        guard !ticket.contains("!tfa!") else {
            throw BackupFailure(
                .unsupported, "\(user) needs a second factor, which this client cannot give",
                hints: ["Use an API token for backups."])
        }
        return LoginTicket(ticket: ticket, csrf: csrf, issued: time.seconds)
    }

    // MARK: - Certificates

    /// Connects to a server whose certificate is trusted: by the machine's authorities, by `PBS_FINGERPRINT`, by what
    /// was accepted before, or by the person at the terminal, whose answer is kept.
    static func connect(
        _ repository: Repository, _ surroundings: Surroundings, options: ConnectionOptions
    ) async throws -> ServerConnection {
        let address = ServerAddress(host: repository.host, port: repository.port)
        let server = repository.serverName
        let given = try SecretSource.fingerprint.value(in: surroundings.environment)
        if let given, CertificateFingerprint(parsing: given) == nil {
            throw BackupFailure(
                .invalidInput, "PBS_FINGERPRINT is no fingerprint: '\(given)'",
                hints: ["A fingerprint has 32 bytes in hex, for example from `cairn cert info` on the server."])
        }
        let known = try (given ?? surroundings.files.fingerprint(of: server)).flatMap {
            CertificateFingerprint(parsing: $0)
        }
        if let known {
            do {
                return try await ServerConnection.connect(to: address, trust: .fingerprint(known), options: options)
            } catch let failure as BackupFailure where failure.cause is UntrustedCertificate {}
        }
        do {
            return try await ServerConnection.connect(to: address, trust: .system, options: options)
        } catch let failure as BackupFailure {
            guard let shown = failure.cause as? UntrustedCertificate else { throw failure }
            if let known {
                throw BackupFailure(
                    .notAuthenticated,
                    "The certificate of \(server) is not the one that is trusted: it has the fingerprint \(shown.fingerprint), \(known) is expected",
                    hints: [
                        "If the server has a new certificate, check it there (`cairn cert info`) and change "
                            + (given != nil ? "PBS_FINGERPRINT." : "the line of \(server) in the file of fingerprints.")
                    ])
            }
            guard surroundings.isInteractive, isAccepted(shown.fingerprint, of: server) else {
                throw BackupFailure(
                    .notAuthenticated, "The certificate of \(server) is not trusted",
                    hints: [
                        "Its fingerprint is \(shown.fingerprint).",
                        "If `cairn cert info` on the server says the same, set PBS_FINGERPRINT to it.",
                    ])
            }
            try surroundings.files.setFingerprint(shown.fingerprint.description, of: server)
            return try await ServerConnection.connect(
                to: address, trust: .fingerprint(shown.fingerprint), options: options)
        }
    }

    private static func isAccepted(_ fingerprint: CertificateFingerprint, of server: String) -> Bool {
        StandardStreams.print(
            "The certificate of \(server) has the fingerprint\n\(fingerprint)\n", to: StandardStreams.error)
        while true {
            guard let answer = Terminal.ask("Is it the right one? (y/n) ")?.lowercased() else { return false }
            if answer == "y" || answer == "yes" { return true }
            if answer == "n" || answer == "no" { return false }
        }
    }
}
