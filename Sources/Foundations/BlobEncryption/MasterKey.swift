package import BackupFormats
private import Crypto
private import CryptoExtras
private import SwiftASN1

/// The public half of a master key: encrypts a backup's key for whoever holds the private half.
///
/// RSA with PKCS#1 v1.5 padding, because the format says so. The key file takes 255 bytes, so 2048-bit
/// keys are too small for it. (Spec: formats §5.7.)
package struct MasterPublicKey: Sendable {
    /// PEM of the type `PUBLIC KEY`. (The RSA types are not `Sendable`, so the key is kept as text.)
    package let pem: String
    package let bitCount: Int

    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package init(pem: String) throws(BackupFailure) {
        do {
            self.init(try _RSA.Encryption.PublicKey(pemRepresentation: pem))
        } catch {
            throw BackupFailure(.invalidInput, "The public master key is no RSA key of 2048 bits or more", cause: error)
        }
    }

    fileprivate init(_ key: _RSA.Encryption.PublicKey) {
        let text = key.pemRepresentation
        pem = text.hasSuffix("\n") ? text : text + "\n"
        bitCount = key.keySizeInBits
    }

    /// The content of `rsa-encrypted.key.blob`: as many bytes as the modulus has.
    ///
    /// - Parameter file: A key in the open, see ``KeyFile/unprotected(_:modified:)``.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the master key is too small.
    package func encrypt(_ file: KeyFile) throws(BackupFailure) -> [UInt8] {
        do {
            let key = try _RSA.Encryption.PublicKey(pemRepresentation: pem)
            return [UInt8](try key.encrypt(file.encoded, padding: ._WEAK_AND_INSECURE_PKCS_V1_5))
        } catch {
            throw BackupFailure(
                .invalidInput, "The master key of \(bitCount) bits cannot hold an encryption key",
                hints: ["Create one of 4096 bits."], cause: error)
        }
    }
}

/// The private half of a master key: gives back the key of a backup whose own key is lost.
package struct MasterPrivateKey: Sendable {
    /// Longer text is refused.
    package static let maxByteCount = 64 << 10

    /// PKCS#8 in the open.
    private let der: [UInt8]
    package let publicKey: MasterPublicKey

    /// A new pair of 4096 bits; takes a second or more.
    package static func generate() throws(BackupFailure) -> MasterPrivateKey {
        do {
            return try MasterPrivateKey(_RSA.Encryption.PrivateKey(keySize: .bits4096))
        } catch {
            throw BackupFailure(.internalFault, "No RSA key could be made", cause: error)
        }
    }

    private init(_ key: _RSA.Encryption.PrivateKey) throws {
        der = try PEMDocument(pemString: key.pkcs8PEMRepresentation).derBytes
        publicKey = MasterPublicKey(key.publicKey)
    }

    /// Reads a PEM `ENCRYPTED PRIVATE KEY` (PKCS#8, PBES2), `PRIVATE KEY` or `RSA PRIVATE KEY`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`: no such PEM, a missing or wrong passphrase, an
    ///   algorithm that is not supported.
    package init(pem: String, passphrase: [UInt8]? = nil) throws(BackupFailure) {
        guard pem.utf8.count <= Self.maxByteCount else {
            throw BackupFailure(.invalidInput, "The master key is no PEM private key")
        }
        let document: PEMDocument
        do {
            document = try PEMDocument(pemString: pem)
        } catch {
            throw BackupFailure(.invalidInput, "The master key is no PEM private key", cause: error)
        }
        let der: [UInt8]
        switch document.discriminator {
        case "ENCRYPTED PRIVATE KEY":
            guard let passphrase else { throw BackupFailure(.invalidInput, "The master key needs its passphrase") }
            der = try ProtectedPrivateKey(der: document.derBytes).open(passphrase: passphrase)
        case "PRIVATE KEY", "RSA PRIVATE KEY": der = document.derBytes
        default:
            throw BackupFailure(.invalidInput, "A PEM \(document.discriminator) is no private master key")
        }
        do {
            try self.init(_RSA.Encryption.PrivateKey(derRepresentation: der))
        } catch {
            throw BackupFailure(.invalidInput, "The master key is no RSA key of 2048 bits or more", cause: error)
        }
    }

    /// PKCS#8 under a passphrase, as PEM.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the passphrase is too short.
    package func pem(passphrase: [UInt8]) throws(BackupFailure) -> String {
        do {
            let protected = try ProtectedPrivateKey(protecting: der, passphrase: passphrase).der()
            return PEMDocument(type: "ENCRYPTED PRIVATE KEY", derBytes: protected).pemString + "\n"
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(.internalFault, "The master key could not be written", cause: error)
        }
    }

    /// The key file in the content of `rsa-encrypted.key.blob`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where it was encrypted for another master key, of kind
    ///   `corruptData` where what it holds is no key file.
    package func decrypt(_ bytes: [UInt8]) throws(BackupFailure) -> KeyFile {
        let json: [UInt8]
        do {
            let key = try _RSA.Encryption.PrivateKey(derRepresentation: der)
            json = [UInt8](try key.decrypt(bytes, padding: ._WEAK_AND_INSECURE_PKCS_V1_5))
        } catch {
            throw BackupFailure(.invalidInput, "The key was encrypted for another master key", cause: error)
        }
        do {
            return try KeyFile(parsing: json)
        } catch {
            throw BackupFailure(.corruptData, "The master key opens no key file", cause: error)
        }
    }
}
