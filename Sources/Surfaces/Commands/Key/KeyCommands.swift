import ArgumentParser
import BackupClient
import BackupFormats
import BlobEncryption
import Platform

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Encryption keys of this client.",
        subcommands: [
            KeyCreate.self, KeyShow.self, KeyChangePassphrase.self, KeyCreateMasterKey.self,
            KeyImportMasterPublicKey.self, KeyImportWithMasterKey.self,
        ])
}

/// How a key file is protected.
enum KeyDerivationName: String, CaseIterable, ExpressibleByArgument {
    case scrypt, pbkdf2, none

    func protection(passphrase: [UInt8]?, hint: String?) throws -> KeyFile.Protection {
        switch (self, passphrase) {
        case (.scrypt, let passphrase?): return .scrypt(passphrase: passphrase, hint: hint)
        case (.pbkdf2, let passphrase?): return .pbkdf2(passphrase: passphrase, hint: hint)
        default:
            guard hint == nil else {
                throw BackupFailure(.invalidInput, "A hint is of no use where there is no passphrase")
            }
            return .none
        }
    }
}

/// The key file that a command is about.
struct KeyFileArgument: ParsableArguments {
    @Argument(
        help: ArgumentHelp("The key file. By default the one that backups use.", valueName: "path"), completion: .file()
    )
    var given: String?

    func path() throws -> String { try given ?? KeyFiles.defaultPath() }
}

/// How a command is to protect a key file.
struct KeyProtectionOptions: ParsableArguments {
    @Option(help: "scrypt, pbkdf2 or none: what protects the file by a passphrase.") var kdf: KeyDerivationName =
        .scrypt
    @Option(help: "A reminder of the passphrase, kept in the open.") var hint: String?

    /// The protection with its passphrase, which is taken from the environment or asked for.
    func ask(for name: String, from source: SecretSource) throws -> KeyFile.Protection {
        try kdf.protection(passphrase: kdf == .none ? nil : Passphrase.new(for: name, from: source), hint: hint)
    }
}

/// Key files on this machine.
enum KeyFiles {
    static func defaultPath() throws -> String {
        guard let path = ClientFiles(environment: .current).keyFile else {
            throw BackupFailure(.invalidInput, "There is no home folder to keep keys in", hints: ["Name a file."])
        }
        return path
    }

    static func read(_ path: String) throws -> KeyFile {
        do { return try KeyFile(parsing: try FileSystem.read(path, limit: KeyFile.maxByteCount)) } catch let error
            as SystemError
        {
            throw error.failure("The key file \(path) cannot be read")
        } catch {
            throw BackupFailure(.invalidInput, "\(path) is no key file", cause: error)
        }
    }

    /// - Throws: ``BackupFailure`` of kind `conflict` where the file exists and must not be replaced: the backups of a
    ///   lost key are lost with it.
    static func write(_ bytes: [UInt8], to path: String, replaces: Bool, mode: UInt32 = 0o600) throws {
        do {
            guard try replaces || !FileSystem.exists(path) else {
                throw BackupFailure(.conflict, "\(path) exists already", hints: ["Move it away, or name another file."])
            }
            if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
                try FileSystem.makeFolders(String(path[..<slash]), mode: 0o700)
            }
            try AtomicFile.replace(path, with: bytes, mode: mode, isSynced: true)
        } catch let error as SystemError {
            throw error.failure("\(path) cannot be written")
        }
    }
}

struct KeyCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a new encryption key.",
        discussion: "Keep a copy elsewhere: what was encrypted with a lost key cannot be read by anybody.")

    @OptionGroup var file: KeyFileArgument
    @OptionGroup var protection: KeyProtectionOptions

    mutating func run() async throws {
        let target = try file.path()
        let key = try KeyFile(
            for: .generate(), protection: try protection.ask(for: "the key", from: .encryptionPassword),
            created: TimeSource.system.seconds)
        try KeyFiles.write(key.encoded, to: target, replaces: false)
        Output.note("The key is in \(target). Keep a copy of it in a safe place.")
    }
}

struct KeyShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows what is known about a key without its passphrase.")

    @OptionGroup var file: KeyFileArgument
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let source = try file.path()
        let key = try KeyFiles.read(source)
        let derivation =
            switch key.derivation {
            case .scrypt: "scrypt"
            case .pbkdf2: "pbkdf2"
            case nil: "none"
            }
        var members: JSONObject = [
            "path": .string(source), "kdf": .string(derivation), "created": Self.time(key.created),
            "modified": Self.time(key.modified),
        ]
        members["fingerprint"] = key.fingerprint.map { .string($0.description) }
        members["hint"] = key.hint.map { .string($0) }
        output.write(.object(members)) { value in
            Table.render(
                ["name", "value"],
                (value.objectValue?.members ?? []).map { member in
                    [member.name, member.value.intValue.map { BackupTime.text($0) } ?? member.value.stringValue ?? ""]
                })
        }
    }

    /// Unix seconds, as the stock client shows them, of `…Z` or `…±hh:mm`.
    private static func time(_ text: String) -> JSONValue {
        guard let local = BackupTime.parse(text.prefix(19) + "Z") else { return .string(text) }
        let zone = text.dropFirst(19)
        guard let hours = Int64(zone.dropFirst().prefix(2)), let minutes = Int64(zone.suffix(2)) else {
            return .integer(local)
        }
        let offset = hours * 3600 + minutes * 60
        return .integer(zone.first == "-" ? local + offset : local - offset)
    }
}

struct KeyChangePassphrase: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "change-passphrase", abstract: "Protects a key by another passphrase.")

    @OptionGroup var file: KeyFileArgument
    @OptionGroup var protection: KeyProtectionOptions

    mutating func run() async throws {
        let target = try file.path()
        let key = try KeyFiles.read(target)
        let old = key.needsPassphrase ? try Passphrase.existing() : nil
        // A wrong passphrase is found out before a new one is asked for.
        _ = try key.open(passphrase: old)
        let changed = try key.changingProtection(
            passphrase: old, to: try protection.ask(for: "the key", from: .newEncryptionPassword),
            modified: TimeSource.system.seconds)
        try KeyFiles.write(changed.encoded, to: target, replaces: true)
    }
}

extension SecretSource {
    /// Ours: lets scripts change a passphrase.
    static let newEncryptionPassword = SecretSource(
        variable: "PBS_NEW_ENCRYPTION_PASSWORD", credential: "new-encryption-password")
}
