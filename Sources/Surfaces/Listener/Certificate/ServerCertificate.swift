import BackupFormats
import BackupHTTP2
import NIOCore
import NIOSSL
import Platform

/// The certificate that the server shows, with the TLS rules that go with it.
struct ServerCertificate: Sendable {
    static let certificateName = "proxy.pem"
    static let keyName = "proxy.key"
    private static let fileLimit = 1024 * 1024
    private static let keyMode: UInt32 = 0o600
    private static let folderMode: UInt32 = 0o700

    let context: NIOSSLContext
    let fingerprint: CertificateFingerprint

    /// Reads the files, or makes them where a self-signed certificate is wanted and not there.
    ///
    /// - Throws: ``BackupFailure`` that names the file.
    static func load(_ source: ListenerConfiguration.Certificate, time: TimeSource) throws -> ServerCertificate {
        switch source {
        case .files(let certificate, let key): return try load(certificate: certificate, key: key)
        case .selfSigned(let folder, let names):
            let certificate = "\(folder)/\(certificateName)"
            let key = "\(folder)/\(keyName)"
            do {
                if try !FileSystem.exists(certificate) || !FileSystem.exists(key) {
                    try make(certificate: certificate, key: key, folder: folder, names: names, time: time)
                }
            } catch let error as SystemError {
                throw error.failure("the certificate cannot be written to \(folder)")
            }
            return try load(certificate: certificate, key: key)
        }
    }

    private static func make(
        certificate: String, key: String, folder: String, names: [String], time: TimeSource
    ) throws {
        try FileSystem.makeFolders(folder, mode: folderMode)
        var all = names.filter { !$0.isEmpty }
        for name in ["localhost", "127.0.0.1", "::1"] where !all.contains(name) { all.append(name) }
        let made = try SelfSignedCertificate.make(names: all, time: time)
        try AtomicFile.replace(key, with: Array(made.key.utf8), mode: keyMode, isSynced: true)
        try AtomicFile.replace(certificate, with: Array(made.certificate.utf8), isSynced: true)
    }

    private static func load(certificate path: String, key keyPath: String) throws -> ServerCertificate {
        do {
            let chain = try NIOSSLCertificate.fromPEMBytes(try FileSystem.read(path, limit: fileLimit))
            let key = try NIOSSLPrivateKey(bytes: try FileSystem.read(keyPath, limit: fileLimit), format: .pem)
            guard let leaf = chain.first else {
                throw BackupFailure(.invalidInput, "\(path) holds no certificate")
            }
            return ServerCertificate(
                context: try NIOSSLContext(configuration: configuration(chain, key)),
                fingerprint: CertificateFingerprint(ofDER: try leaf.toDERBytes()))
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(
                .invalidInput, "the certificate \(path) with the key \(keyPath) cannot be used", cause: error)
        }
    }

    private static func configuration(_ chain: [NIOSSLCertificate], _ key: NIOSSLPrivateKey) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.maximumTLSVersion = .tlsv13
        // The first that the client offers too: HTTP/2 only for those who offer nothing else. (Decision 8.)
        configuration.applicationProtocols = ["http/1.1", "h2"]
        configuration.shutdownTimeout = .seconds(2)
        configuration.renegotiationSupport = .none
        return configuration
    }
}
