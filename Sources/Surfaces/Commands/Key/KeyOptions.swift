import ArgumentParser
import BackupClient
import BackupFormats
import BlobEncryption
import Platform

extension CryptMode: ExpressibleByArgument {}

/// Which key, and what it is used for.
struct KeyOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The key file. By default encryption-key.json of the user's configuration, if there is one.",
            valueName: "file"), completion: .file())
    var keyfile: String?

    @Option(help: ArgumentHelp("Read the key file from this open descriptor.", valueName: "descriptor"))
    var keyfd: Int32?

    @Option(
        help: ArgumentHelp("none, encrypt or sign-only. By default encrypt where there is a key.", valueName: "mode"))
    var cryptMode: CryptMode?

    /// The key file that is to be used; nil where there is none.
    func file(_ environment: Environment = .current) throws -> KeyFile? {
        guard let (bytes, place) = try bytes(environment) else { return nil }
        do { return try KeyFile(parsing: bytes) } catch {
            throw BackupFailure(.invalidInput, "\(place) is no key file", cause: error)
        }
    }

    private func bytes(_ environment: Environment) throws -> ([UInt8], String)? {
        if keyfile != nil, keyfd != nil {
            throw BackupFailure(.invalidInput, "--keyfile and --keyfd exclude each other")
        }
        if let keyfd {
            do { return (try StandardStreams.readAll(keyfd, limit: KeyFile.maxByteCount), "descriptor \(keyfd)") } catch
            {
                throw error.failure("The key cannot be read from descriptor \(keyfd)")
            }
        }
        if let keyfile {
            do { return (try FileSystem.read(keyfile, limit: KeyFile.maxByteCount), keyfile) } catch {
                throw error.failure("The key file \(keyfile) cannot be read")
            }
        }
        let files = ClientFiles(environment: environment)
        guard let path = files.keyFile, let bytes = try files.read(path) else { return nil }
        return (bytes, path)
    }

    /// The opened key with its file; asks for the passphrase where it needs one.
    func key(_ environment: Environment = .current) throws -> (key: EncryptionKey, file: KeyFile)? {
        if cryptMode == CryptMode.none { return nil }
        guard let file = try file(environment) else {
            if let cryptMode {
                throw BackupFailure(
                    .invalidInput, "The crypt mode \(cryptMode.rawValue) needs a key",
                    hints: ["Name it with --keyfile, or make one with `cairn key create`."])
            }
            return nil
        }
        let passphrase = file.needsPassphrase ? try Passphrase.existing(environment) : nil
        return (try file.open(passphrase: passphrase), file)
    }

    /// What a backup is protected with.
    ///
    /// - Parameters:
    ///   - master: The public master key, if the snapshot shall carry the key for its owner.
    ///   - time: Of the backup, Unix seconds.
    func protection(
        master: MasterPublicKey? = nil, time: Int64, _ environment: Environment = .current
    ) throws -> ContentProtection {
        guard let (key, file) = try key(environment) else { return .none }
        return try ContentProtection(cryptMode ?? .encrypt, key: key, from: file, master: master, time: time)
    }
}

/// The public master key that a backup's key is sealed for.
struct MasterKeyOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The public master key. By default master-public.pem of the user's configuration, if there is one.",
            valueName: "file"))
    var masterPubkeyFile: String?

    @Option(help: ArgumentHelp("Read the public master key from this open descriptor.", valueName: "descriptor"))
    var masterPubkeyFd: Int32?

    func key(_ environment: Environment = .current) throws -> MasterPublicKey? {
        let bytes: [UInt8]
        if let masterPubkeyFd {
            do { bytes = try StandardStreams.readAll(masterPubkeyFd, limit: KeyFile.maxByteCount) } catch {
                throw error.failure("The master key cannot be read from descriptor \(masterPubkeyFd)")
            }
        } else if let masterPubkeyFile {
            do { bytes = try FileSystem.read(masterPubkeyFile, limit: KeyFile.maxByteCount) } catch {
                throw error.failure("The master key \(masterPubkeyFile) cannot be read")
            }
        } else {
            let files = ClientFiles(environment: environment)
            guard let path = files.masterKeyFile, let found = try files.read(path) else { return nil }
            bytes = found
        }
        return try MasterPublicKey(pem: String(decoding: bytes, as: UTF8.self))
    }
}

/// Passphrases from the environment, else from the person at the terminal.
enum Passphrase {
    /// That of a key which exists.
    static func existing(_ environment: Environment = .current) throws -> [UInt8] {
        if let text = try SecretSource.encryptionPassword.value(in: environment) { return Array(text.utf8) }
        guard Terminal.isThere, let text = Terminal.askSecret("Passphrase of the encryption key: ") else {
            throw BackupFailure(
                .invalidInput, "The encryption key needs its passphrase", hints: ["Set PBS_ENCRYPTION_PASSWORD."])
        }
        return Array(text.utf8)
    }

    /// A new one, typed twice.
    ///
    /// - Parameter variable: Where the environment may have it.
    static func new(
        for what: String, from variable: SecretSource? = nil, _ environment: Environment = .current
    ) throws -> [UInt8] {
        if let text = try variable?.value(in: environment) { return try checked(Array(text.utf8)) }
        guard Terminal.isThere, let first = Terminal.askSecret("New passphrase of \(what): ") else {
            throw BackupFailure(
                .invalidInput, "There is no terminal to ask for the passphrase of \(what)",
                hints: [variable.map { "Set \($0.variable)." } ?? "Run the command on a terminal."])
        }
        guard Terminal.askSecret("Once more: ") == first else {
            throw BackupFailure(.invalidInput, "The two passphrases differ")
        }
        return try checked(Array(first.utf8))
    }

    private static func checked(_ passphrase: [UInt8]) throws -> [UInt8] {
        guard passphrase.count >= KeyFile.minPassphraseByteCount else {
            throw BackupFailure(.invalidInput, "A passphrase has at least \(KeyFile.minPassphraseByteCount) bytes")
        }
        return passphrase
    }
}
