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
    /// - Returns: nil where connections are plain text.
    static func load(_ source: ListenerConfiguration.Certificate, time: TimeSource) throws -> ServerCertificate? {
        switch source {
        case .plain: return nil
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

    /// Where the certificate and its key are.
    ///
    /// - Throws: ``BackupFailure`` of kind `unsupported` where there is none.
    static func paths(
        _ source: ListenerConfiguration.Certificate
    ) throws -> (certificate: String, key: String) {
        switch source {
        case .files(let certificate, let key): (certificate, key)
        case .selfSigned(let folder, _): ("\(folder)/\(certificateName)", "\(folder)/\(keyName)")
        case .plain: throw BackupFailure(.unsupported, "a listener in plain text has no certificate")
        }
    }

    /// The certificate file, for descriptions.
    static func read(_ source: ListenerConfiguration.Certificate) throws -> [UInt8] {
        let path = try paths(source).certificate
        do {
            return try FileSystem.read(path, limit: fileLimit)
        } catch {
            throw error.failure("the certificate \(path) cannot be read")
        }
    }

    /// Writes both files once they were found to fit together.
    ///
    /// - Parameter key: Nil where the present key stays.
    static func replace(_ source: ListenerConfiguration.Certificate, chain: [UInt8], key: [UInt8]?) throws {
        let paths = try paths(source)
        do {
            let keyBytes = try key ?? FileSystem.read(paths.key, limit: fileLimit)
            _ = try use(chain, keyBytes, from: "that was sent")
            if let key { try AtomicFile.replace(paths.key, with: key, mode: keyMode, isSynced: true) }
            try AtomicFile.replace(paths.certificate, with: chain, isSynced: true)
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(
                .invalidInput, "the certificate that was sent cannot be used with its key", cause: error)
        }
    }

    private static func use(_ pem: [UInt8], _ keyPEM: [UInt8], from place: String) throws -> ServerCertificate {
        let chain = try NIOSSLCertificate.fromPEMBytes(pem)
        let key = try NIOSSLPrivateKey(bytes: keyPEM, format: .pem)
        guard let leaf = chain.first else {
            throw BackupFailure(.invalidInput, "the file \(place) holds no certificate")
        }
        return ServerCertificate(
            context: try NIOSSLContext(configuration: configuration(chain, key)),
            fingerprint: CertificateFingerprint(ofDER: try leaf.toDERBytes()))
    }

    private static func load(certificate path: String, key keyPath: String) throws -> ServerCertificate {
        do {
            return try use(
                try FileSystem.read(path, limit: fileLimit), try FileSystem.read(keyPath, limit: fileLimit), from: path)
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
