package import BackupFormats
private import Crypto

/// A key as it lies in a file: JSON, the key in the open or under a passphrase. (Spec: formats §5.1.)
///
/// Files are written with mode 0600. Times are text: written in UTC with the offset `+00:00`, kept as they
/// were when read.
package struct KeyFile: Hashable, Sendable {
    /// Longer JSON is refused.
    package static let maxByteCount = 64 << 10
    /// Shorter passphrases are refused.
    package static let minPassphraseByteCount = 5

    /// What protects a new file.
    package enum Protection: Sendable {
        case none
        case scrypt(passphrase: [UInt8], hint: String? = nil)
        case pbkdf2(passphrase: [UInt8], hint: String? = nil)
    }

    /// nil for a key in the open.
    package let derivation: KeyDerivation?
    package let created: String
    package let modified: String
    /// The 32 bytes, or IV, tag and 32 encrypted bytes.
    package let data: [UInt8]
    /// Missing in files of old clients.
    package let fingerprint: KeyFingerprint?
    /// A reminder for whoever forgot the passphrase.
    package let hint: String?

    package var needsPassphrase: Bool { derivation != nil }

    /// A new file for `key`.
    ///
    /// - Parameters:
    ///   - created: Unix seconds.
    ///   - salt: Random; tests alone choose it. So for `iv`.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the passphrase is too short.
    package init(
        for key: EncryptionKey, protection: Protection, created: Int64, modified: Int64? = nil,
        salt: [UInt8]? = nil, iv: SIMD16<UInt8> = .random(in: 0...255)
    ) throws(BackupFailure) {
        try self.init(
            for: key, protection: protection, created: Self.text(ofTime: created),
            modified: Self.text(ofTime: modified ?? created), salt: salt, iv: iv)
    }

    private init(
        for key: EncryptionKey, protection: Protection, created: String, modified: String, salt: [UInt8]?,
        iv: SIMD16<UInt8>
    ) throws(BackupFailure) {
        self.created = created
        self.modified = modified
        fingerprint = key.fingerprint
        let salt = salt ?? randomBytes(32)
        switch protection {
        case .none:
            (derivation, data, hint) = (nil, key.bytes, nil)
        case .scrypt(let passphrase, let hint):
            let derivation = KeyDerivation.standardScrypt(salt: salt)
            (self.derivation, self.hint) = (derivation, hint)
            data = try Self.wrap(key, derivation, passphrase, iv)
        case .pbkdf2(let passphrase, let hint):
            let derivation = KeyDerivation.standardPBKDF2(salt: salt)
            (self.derivation, self.hint) = (derivation, hint)
            data = try Self.wrap(key, derivation, passphrase, iv)
        }
    }

    private static func wrap(
        _ key: EncryptionKey, _ derivation: KeyDerivation, _ passphrase: [UInt8], _ iv: SIMD16<UInt8>
    ) throws(BackupFailure) -> [UInt8] {
        let wrapping = try wrappingKey(derivation, passphrase)
        return key.bytes.withUnsafeBytes {
            let (seal, box) = wrapping.seal($0, iv: iv)
            return seal.iv.bytes + seal.tag.bytes + [UInt8](box.ciphertext)
        }
    }

    private static func wrappingKey(
        _ derivation: KeyDerivation, _ passphrase: [UInt8]
    ) throws(BackupFailure) -> EncryptionKey {
        guard passphrase.count >= minPassphraseByteCount else {
            throw BackupFailure(
                .invalidInput, "A passphrase has at least \(minPassphraseByteCount) bytes")
        }
        guard let key = EncryptionKey(bytes: try derivation.key(for: passphrase)) else {
            throw BackupFailure(.internalFault, "The key derivation gave no key")
        }
        return key
    }

    /// The key.
    ///
    /// - Parameter passphrase: Not looked at where the key is in the open.
    /// - Throws: ``BackupFailure`` of kind `invalidInput`: no or a wrong passphrase (the hint is in the hints),
    ///   parameters above the limits; of kind `corruptData`: a key of another length, or one that does not
    ///   have the stored fingerprint.
    package func open(passphrase: [UInt8]? = nil) throws(BackupFailure) -> EncryptionKey {
        let bytes: [UInt8]
        if let derivation {
            guard let passphrase else { throw failure("The key needs its passphrase") }
            guard data.count == 64 else { throw BackupFailure(.corruptData, "The protected key has not 64 bytes") }
            let wrapping = try Self.wrappingKey(derivation, passphrase)
            let seal = DataBlobHeader.Seal(iv: SIMD16(data[0..<16]), tag: SIMD16(data[16..<32]))
            let opened = data.withUnsafeBytes { wrapping.open(UnsafeRawBufferPointer(rebasing: $0[32...]), seal) }
            guard let opened else { throw failure("The passphrase of the key is wrong") }
            bytes = opened
        } else {
            bytes = data
        }
        guard let key = EncryptionKey(bytes: bytes) else {
            throw BackupFailure(.corruptData, "The key has not 32 bytes")
        }
        guard fingerprint == nil || fingerprint == key.fingerprint else {
            throw BackupFailure(.corruptData, "The key has not the fingerprint that its file names")
        }
        return key
    }

    /// The same key under another protection; the time of creation stays.
    ///
    /// - Parameter modified: Unix seconds.
    /// - Throws: As ``open(passphrase:)`` and ``init(for:protection:created:modified:salt:iv:)``.
    package func changingProtection(
        passphrase: [UInt8]?, to protection: Protection, modified: Int64
    ) throws(BackupFailure) -> KeyFile {
        try KeyFile(
            for: try open(passphrase: passphrase), protection: protection, created: created,
            modified: Self.text(ofTime: modified), salt: nil, iv: .random(in: 0...255))
    }

    private func failure(_ summary: String) -> BackupFailure {
        BackupFailure(.invalidInput, summary, hints: hint.map { ["The key's hint is: \($0)"] } ?? [])
    }

    /// The time in UTC with a numeric offset: `2024-05-01T10:00:00+00:00`.
    package static func text(ofTime seconds: Int64) -> String { "\(BackupTime.text(seconds).dropLast())+00:00" }
}

extension KeyFile {
    /// Reads the JSON.
    ///
    /// - Throws: ``FormatError``: no JSON, a member missing or of the wrong form.
    package init(parsing json: [UInt8]) throws(FormatError) {
        guard json.count <= Self.maxByteCount else {
            throw .tooLong(UInt64(json.count), limit: Self.maxByteCount, offset: 0)
        }
        let value = try JSONValue(parsing: json)
        switch value["kdf"] {
        case .null: derivation = nil
        case let kdf?: derivation = try Self.derivation(kdf)
        case nil: throw .invalid("a key file names its key derivation", offset: 0)
        }
        guard let created = value["created"]?.stringValue, Self.isTime(created),
            let modified = value["modified"]?.stringValue, Self.isTime(modified)
        else { throw .invalid("a time of the key file is missing or wrong", offset: 0) }
        guard let data = value["data"]?.stringValue.flatMap({ Base64.decode($0) }) else {
            throw .invalid("the key file holds no base64 data", offset: 0)
        }
        (self.created, self.modified, self.data) = (created, modified, data)
        switch value["fingerprint"] {
        case nil, .null: fingerprint = nil
        case let text?:
            guard let parsed = text.stringValue.flatMap({ KeyFingerprint(parsing: $0) }) else {
                throw .invalid("the fingerprint in the key file is wrong", offset: 0)
            }
            fingerprint = parsed
        }
        hint = value["hint"]?.stringValue
    }

    private static func derivation(_ value: JSONValue) throws(FormatError) -> KeyDerivation {
        func number(_ value: JSONValue?) -> UInt64? { value?.intValue.flatMap { UInt64(exactly: $0) } }
        func bytes(_ value: JSONValue?) -> [UInt8]? { value?.stringValue.flatMap { Base64.decode($0) } }
        if let scrypt = value["Scrypt"], let n = number(scrypt["n"]), let r = number(scrypt["r"]),
            let p = number(scrypt["p"]), let salt = bytes(scrypt["salt"])
        {
            return .scrypt(n: n, r: r, p: p, salt: salt)
        }
        if let pbkdf2 = value["PBKDF2"], let iterations = number(pbkdf2["iter"]), let salt = bytes(pbkdf2["salt"]) {
            return .pbkdf2(iterations: iterations, salt: salt)
        }
        throw .invalid("unknown key derivation, or a parameter of it missing", offset: 0)
    }

    /// `2024-05-01T10:00:00Z`, or with `±hh:mm` in place of the Z.
    private static func isTime(_ text: String) -> Bool {
        let utf8 = Array(text.utf8)
        if utf8.count == 20 { return BackupTime.parse(text) != nil }
        guard utf8.count == 25, utf8[19] == UInt8(ascii: "+") || utf8[19] == UInt8(ascii: "-"),
            utf8[22] == UInt8(ascii: ":"), [20, 21, 23, 24].allSatisfy({ (0x30...0x39).contains(utf8[$0]) })
        else { return false }
        return BackupTime.parse(String(decoding: utf8[..<19], as: UTF8.self) + "Z") != nil
    }

    /// The members in the order in which they are written everywhere.
    private var json: JSONValue {
        var members: JSONObject = [:]
        switch derivation {
        case nil: members["kdf"] = .null
        case .scrypt(let n, let r, let p, let salt):
            members["kdf"] = [
                "Scrypt": [
                    "n": .integer(n), "r": .integer(r), "p": .integer(p), "salt": .string(Base64.encode(salt)),
                ]
            ]
        case .pbkdf2(let iterations, let salt):
            members["kdf"] = ["PBKDF2": ["iter": .integer(iterations), "salt": .string(Base64.encode(salt))]]
        }
        members["created"] = .string(created)
        members["modified"] = .string(modified)
        members["data"] = .string(Base64.encode(data))
        if let fingerprint { members["fingerprint"] = .string(fingerprint.description) }
        if let hint { members["hint"] = .string(hint) }
        return .object(members)
    }

    /// One line of JSON, as key files hold it and as the master key encrypts it.
    package var encoded: [UInt8] { Array(json.compactText.utf8) }
    /// The same over several lines, as paper keys show it.
    package var prettyText: String { json.prettyText }

    /// The file of `key` in the open that a master key encrypts for a backup.
    ///
    /// - Parameter modified: Time of the backup, Unix seconds.
    package func unprotected(
        _ key: EncryptionKey, modified: Int64
    ) throws(BackupFailure) -> KeyFile {
        try KeyFile(
            for: key, protection: .none, created: created, modified: Self.text(ofTime: modified), salt: nil,
            iv: .zero)
    }
}
