import BackupFormats
private import Crypto
private import CryptoExtras
private import SwiftASN1

/// A PKCS#8 `EncryptedPrivateKeyInfo` with PBES2: PBKDF2 with HMAC, then AES in CBC mode. (RFC 8018.)
struct ProtectedPrivateKey {
    static let maxIterations = 10_000_000
    static let maxSaltByteCount = 1024
    /// Of new files.
    static let iterations = 210_000

    private enum OID {
        static let pbes2: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 5, 13]
        static let pbkdf2: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 5, 12]
        static let hmacSHA1: ASN1ObjectIdentifier = [1, 2, 840, 113549, 2, 7]
        static let hmacSHA256: ASN1ObjectIdentifier = [1, 2, 840, 113549, 2, 9]
        static let hmacSHA384: ASN1ObjectIdentifier = [1, 2, 840, 113549, 2, 10]
        static let hmacSHA512: ASN1ObjectIdentifier = [1, 2, 840, 113549, 2, 11]
        static let aes128: ASN1ObjectIdentifier = [2, 16, 840, 1, 101, 3, 4, 1, 2]
        static let aes256: ASN1ObjectIdentifier = [2, 16, 840, 1, 101, 3, 4, 1, 42]
    }

    private let salt: [UInt8]
    private let iterations: Int
    private let prf: ASN1ObjectIdentifier
    private let cipher: ASN1ObjectIdentifier
    private let iv: [UInt8]
    private let ciphertext: [UInt8]

    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    init(der: [UInt8]) throws(BackupFailure) {
        do {
            self = try Self.parse(der)
        } catch {
            throw BackupFailure(.invalidInput, "The protected master key has an unknown form", cause: error)
        }
        guard (1...Self.maxIterations).contains(iterations), salt.count <= Self.maxSaltByteCount else {
            throw BackupFailure(.invalidInput, "The parameters of the key derivation are above the limits")
        }
    }

    private init(
        salt: [UInt8], iterations: Int, prf: ASN1ObjectIdentifier, cipher: ASN1ObjectIdentifier, iv: [UInt8],
        ciphertext: [UInt8]
    ) {
        self.salt = salt
        self.iterations = iterations
        self.prf = prf
        self.cipher = cipher
        self.iv = iv
        self.ciphertext = ciphertext
    }

    /// Encrypts a PKCS#8 key under `passphrase`.
    init(protecting key: [UInt8], passphrase: [UInt8]) throws(BackupFailure) {
        guard passphrase.count >= KeyFile.minPassphraseByteCount else {
            throw BackupFailure(.invalidInput, "A passphrase has at least \(KeyFile.minPassphraseByteCount) bytes")
        }
        salt = randomBytes(16)
        iv = randomBytes(16)
        iterations = Self.iterations
        prf = OID.hmacSHA256
        cipher = OID.aes256
        do {
            let wrapping = try KDF.Insecure.PBKDF2.deriveKey(
                from: passphrase, salt: salt, using: .sha256, outputByteCount: 32, unsafeUncheckedRounds: iterations)
            ciphertext = [UInt8](try AES._CBC.encrypt(key, using: wrapping, iv: AES._CBC.IV(ivBytes: iv)))
        } catch {
            throw BackupFailure(.internalFault, "The master key could not be encrypted", cause: error)
        }
    }

    /// The PKCS#8 key inside.
    func open(passphrase: [UInt8]) throws(BackupFailure) -> [UInt8] {
        let hash: KDF.Insecure.PBKDF2.HashFunction
        switch prf {
        case OID.hmacSHA1: hash = .insecureSHA1
        case OID.hmacSHA256: hash = .sha256
        case OID.hmacSHA384: hash = .sha384
        case OID.hmacSHA512: hash = .sha512
        default: throw BackupFailure(.unsupported, "The key derivation of the master key is not supported")
        }
        let keyByteCount: Int
        switch cipher {
        case OID.aes128: keyByteCount = 16
        case OID.aes256: keyByteCount = 32
        default: throw BackupFailure(.unsupported, "The cipher of the master key is not supported")
        }
        guard iv.count == 16 else { throw BackupFailure(.invalidInput, "The IV of the master key has not 16 bytes") }
        do {
            let wrapping = try KDF.Insecure.PBKDF2.deriveKey(
                from: passphrase, salt: salt, using: hash, outputByteCount: keyByteCount,
                unsafeUncheckedRounds: iterations)
            return [UInt8](try AES._CBC.decrypt(ciphertext, using: wrapping, iv: AES._CBC.IV(ivBytes: iv)))
        } catch {
            throw BackupFailure(.invalidInput, "The passphrase of the master key is wrong", cause: error)
        }
    }

    private static func parse(_ der: [UInt8]) throws -> ProtectedPrivateKey {
        try DER.sequence(try DER.parse(der), identifier: .sequence) { info in
            var (salt, iterations, prf) = ([UInt8](), 0, OID.hmacSHA1)
            var (cipher, iv) = (OID.aes256, [UInt8]())
            try sequence(in: &info) { algorithm in
                try require(&algorithm, OID.pbes2)
                try sequence(in: &algorithm) { scheme in
                    try sequence(in: &scheme) { derivation in
                        try require(&derivation, OID.pbkdf2)
                        try sequence(in: &derivation) { parameters in
                            salt = Array(try ASN1OctetString(derEncoded: &parameters).bytes)
                            iterations = try Int(derEncoded: &parameters)
                            while let node = parameters.next() {
                                guard node.identifier == .sequence else { continue }  // the key's length
                                prf = try DER.sequence(node, identifier: .sequence) { function in
                                    let oid = try ASN1ObjectIdentifier(derEncoded: &function)
                                    while function.next() != nil {}
                                    return oid
                                }
                            }
                        }
                    }
                    try sequence(in: &scheme) { encryption in
                        cipher = try ASN1ObjectIdentifier(derEncoded: &encryption)
                        iv = Array(try ASN1OctetString(derEncoded: &encryption).bytes)
                    }
                }
            }
            let ciphertext = Array(try ASN1OctetString(derEncoded: &info).bytes)
            return ProtectedPrivateKey(
                salt: salt, iterations: iterations, prf: prf, cipher: cipher, iv: iv, ciphertext: ciphertext)
        }
    }

    private static func require(
        _ nodes: inout ASN1NodeCollection.Iterator, _ expected: ASN1ObjectIdentifier
    ) throws {
        guard try ASN1ObjectIdentifier(derEncoded: &nodes) == expected else {
            throw FormatError.invalid("the key is not protected by PBES2 with PBKDF2", offset: 0)
        }
    }

    private static func sequence(
        in nodes: inout ASN1NodeCollection.Iterator, _ body: (inout ASN1NodeCollection.Iterator) throws -> Void
    ) throws {
        guard let node = nodes.next() else {
            throw FormatError.invalid("the description of the key's protection ends too soon", offset: 0)
        }
        try DER.sequence(node, identifier: .sequence, body)
    }

    /// The DER form.
    func der() throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.appendConstructedNode(identifier: .sequence) { info in
            try info.appendConstructedNode(identifier: .sequence) { algorithm in
                try algorithm.serialize(OID.pbes2)
                try algorithm.appendConstructedNode(identifier: .sequence) { scheme in
                    try scheme.appendConstructedNode(identifier: .sequence) { derivation in
                        try derivation.serialize(OID.pbkdf2)
                        try derivation.appendConstructedNode(identifier: .sequence) { parameters in
                            try parameters.serialize(ASN1OctetString(contentBytes: salt[...]))
                            try parameters.serialize(iterations)
                            try parameters.appendConstructedNode(identifier: .sequence) { function in
                                try function.serialize(prf)
                                try function.serialize(ASN1Null())
                            }
                        }
                    }
                    try scheme.appendConstructedNode(identifier: .sequence) { encryption in
                        try encryption.serialize(cipher)
                        try encryption.serialize(ASN1OctetString(contentBytes: iv[...]))
                    }
                }
            }
            try info.serialize(ASN1OctetString(contentBytes: ciphertext[...]))
        }
        return serializer.serializedBytes
    }
}
