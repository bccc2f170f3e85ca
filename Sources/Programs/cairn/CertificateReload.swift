import BackupHTTP2
import Listener
import Logging
import ServiceLifecycle
import UnixSignals

/// Reads the certificate anew on SIGHUP.
struct CertificateReload: Service {
    let listener: Listener
    let logger: Logger

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        for await _ in signals.cancelOnGracefulShutdown() {
            do {
                let fingerprint = try listener.reloadCertificate()?.description ?? "none"
                logger.notice("certificate read anew, fingerprint \(fingerprint)")
            } catch {
                logger.error("the certificate cannot be read, the old one stays: \(error)")
            }
        }
    }
}
