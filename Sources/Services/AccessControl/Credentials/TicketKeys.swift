import BackupFormats
import Crypto
import CryptoExtras
import StateDatabase

/// The key pair that signs tickets: Ed25519, or RSA where an old installation was taken over. (Spec: rest D.3.)
struct TicketKeys: Sendable {
    static let privateFile = "authkey.key"
    static let publicFile = "authkey.pub"

    private enum Signer: Sendable {
        case ed25519(Curve25519.Signing.PrivateKey)
        case rsa(_RSA.Signing.PrivateKey)
    }

    private let signer: Signer

    /// A new key, kept nowhere.
    init() { signer = .ed25519(Curve25519.Signing.PrivateKey()) }

    /// The key of the state folder; made there on the first start.
    init(folder: StateFolder) throws {
        if let bytes = try folder.read(Self.privateFile) {
            try self.init(pem: String(decoding: bytes, as: UTF8.self))
        } else {
            self.init()
            try folder.replace(Self.publicFile, with: Array((publicPEM + "\n").utf8))
            try folder.replace(Self.privateFile, with: Array((privatePEM + "\n").utf8))
        }
    }

    /// - Throws: ``BackupFailure`` of kind `corruptData` where the text is no private key of either kind.
    init(pem: String) throws {
        if let key = try? Curve25519.Signing.PrivateKey(pemRepresentation: pem) {
            signer = .ed25519(key)
        } else if let key = try? _RSA.Signing.PrivateKey(pemRepresentation: pem) {
            signer = .rsa(key)
        } else {
            throw BackupFailure(
                .corruptData, "\(Self.privateFile) in the state folder is no Ed25519 or RSA private key")
        }
    }

    var privatePEM: String {
        switch signer {
        case .ed25519(let key): key.pemRepresentation
        case .rsa(let key): key.pemRepresentation
        }
    }

    var publicPEM: String {
        switch signer {
        case .ed25519(let key): key.publicKey.pemRepresentation
        case .rsa(let key): key.publicKey.pemRepresentation
        }
    }

    func sign(_ bytes: [UInt8]) throws -> [UInt8] {
        do {
            return switch signer {
            case .ed25519(let key): Array(try key.signature(for: bytes))
            case .rsa(let key):
                Array(try key.signature(for: SHA256.hash(data: bytes), padding: .insecurePKCS1v1_5).rawRepresentation)
            }
        } catch {
            throw BackupFailure(.internalFault, "A ticket cannot be signed", cause: error)
        }
    }

    func verify(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
        switch signer {
        case .ed25519(let key): key.publicKey.isValidSignature(signature, for: bytes)
        case .rsa(let key):
            key.publicKey.isValidSignature(
                _RSA.Signing.RSASignature(rawRepresentation: signature), for: SHA256.hash(data: bytes),
                padding: .insecurePKCS1v1_5)
        }
    }
}
