import ArgumentParser
import BackupClient
import BackupFormats
import BackupHTTP2
import Platform

/// The server that runs on this machine with a given state folder, as its owner reaches it.
enum LocalServer {
    static let addressFile = "server.json"
    static let secretFile = "local-admin.token"
    private static let byteLimit = 64 << 10
    /// Where the packaged server keeps its state.
    static let usualFolder = "/var/lib/cairn"
    static let stateHelp = ArgumentHelp(
        "The state folder of the server on this machine; acts as its owner. By default CAIRN_STATE, then "
            + "\(usualFolder).",
        valueName: "folder")

    /// The state folder that the environment names.
    static func namedFolder(_ environment: Environment = .current) -> String? {
        environment["CAIRN_STATE"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Whether a server runs with that folder, or was killed, or the caller may not look.
    static func hasRun(in folder: String) -> Bool {
        (try? FileSystem.exists("\(folder)/\(addressFile)")) ?? true
    }

    /// Connects to the running server and acts as `root@pam`.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where no server runs with that folder.
    static func open(
        state folder: String, options: ConnectionOptions = ConnectionOptions()
    ) async throws -> RemoteServer {
        let document = try JSONValue(parsing: read(folder, addressFile))
        guard let text = document["address"]?.stringValue, let address = address(text),
            let fingerprint = document["fingerprint"]?.stringValue.flatMap({ CertificateFingerprint(parsing: $0) })
        else {
            throw BackupFailure(
                .corruptData, "\(folder)/\(addressFile) is not what a server writes",
                hints: ["Restart the server; it writes the file anew."])
        }
        let secret = String(decoding: try read(folder, secretFile).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        do {
            let connection = try await ServerConnection.connect(
                to: address, trust: .fingerprint(fingerprint), options: options)
            return RemoteServer(connection: connection, credentials: .local(secret: secret))
        } catch let failure as BackupFailure {
            throw BackupFailure(
                failure.kind, "The server with the state folder \(folder) does not answer at \(address)",
                hints: ["Start it with `cairn serve --state \(folder)`."], cause: failure)
        }
    }

    /// `127.0.0.1:8007` or `[::1]:8007`.
    static func address(_ text: String) -> ServerAddress? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else { return nil }
        var host = text[..<colon]
        if host.first == "[", host.last == "]" { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : ServerAddress(host: String(host), port: port)
    }

    private static func read(_ folder: String, _ name: String) throws -> [UInt8] {
        do { return try FileSystem.read("\(folder)/\(name)", limit: byteLimit) } catch {
            if error.isDenied {
                throw BackupFailure(
                    .notAuthorized, "The state folder \(folder) is closed to you",
                    hints: [
                        "Run the command as root or as the user of the server, or log in to it with --repository."
                    ],
                    cause: error)
            }
            throw error.isMissing
                ? BackupFailure(
                    .unavailable, "No server runs with the state folder \(folder)",
                    hints: ["Start it with `cairn serve --state \(folder)`, or name the right folder."])
                : error.failure("\(folder)/\(name) cannot be read")
        }
    }
}
