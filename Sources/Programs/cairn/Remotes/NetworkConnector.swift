import BackupFormats
import BackupHTTP2
import BackupProtocol
import BackupServer

/// Reaches remotes over TLS.
struct NetworkConnector: RemoteConnector {
    let time: TimeSource

    func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection {
        var options = ConnectionOptions()
        options.sendRate = rates.send.map { RateLimit(bytesPerSecond: $0, burstBytes: rates.sendBurst) }
        options.receiveRate = rates.receive.map { RateLimit(bytesPerSecond: $0, burstBytes: rates.receiveBurst) }
        let address = ServerAddress(host: remote.host, port: remote.port)
        let connection: ServerConnection
        do {
            connection = try await ServerConnection.connect(to: address, trust: try trust(remote), options: options)
        } catch let failure as BackupFailure {
            throw Self.explained(failure, remote)
        }
        do {
            return try await NetworkConnection(remote, connection, time)
        } catch {
            await connection.close()
            throw error
        }
    }

    private func trust(_ remote: Remote) throws -> ServerTrust {
        guard let text = remote.fingerprint else { return .system }
        guard let fingerprint = CertificateFingerprint(parsing: text) else {
            throw BackupFailure(.invalidInput, "the fingerprint '\(text)' has not 32 bytes in hex")
        }
        return .fingerprint(fingerprint)
    }

    private static func explained(_ failure: BackupFailure, _ remote: Remote) -> BackupFailure {
        guard let shown = failure.cause as? UntrustedCertificate else {
            return BackupFailure(failure.kind, "remote \(remote.label) cannot be reached", cause: failure)
        }
        let expected =
            remote.fingerprint.map { "the remote is configured with \($0)" }
            ?? "no authority vouches for it (\(shown.reason)); if it is the right one, enter it as the remote's fingerprint"
        return BackupFailure(
            .invalidInput,
            "the certificate of remote \(remote.label) is not trusted: its fingerprint is \(shown.fingerprint), \(expected)"
        )
    }
}
