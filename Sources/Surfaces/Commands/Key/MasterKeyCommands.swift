import ArgumentParser
import BackupClient
import BackupFormats
import BlobEncryption
import Platform

struct KeyCreateMasterKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create-master-key", abstract: "Makes an RSA pair that can recover the keys of backups.",
        discussion: """
            Writes master-public.pem and master-private.pem into the current folder. Import the public half with \
            `cairn key import-master-pubkey`; keep the private half off this machine.
            """)

    mutating func run() async throws {
        let names = (public: "master-public.pem", private: "master-private.pem")
        for name in [names.public, names.private] where (try? FileSystem.exists(name)) == true {
            throw BackupFailure(
                .conflict, "\(name) exists already", hints: ["Move it away, or work in another folder."])
        }
        let passphrase = try Passphrase.new(for: "the master key", from: .masterPassword)
        Output.note("Making a key of 4096 bits …")
        let key = try MasterPrivateKey.generate()
        try KeyFiles.write(Array(try key.pem(passphrase: passphrase).utf8), to: names.private, replaces: false)
        try KeyFiles.write(Array(key.publicKey.pem.utf8), to: names.public, replaces: false, mode: 0o644)
        Output.note("Wrote \(names.public) and \(names.private).")
    }
}

extension SecretSource {
    /// Ours: the passphrase of a master key, for scripts.
    static let masterPassword = SecretSource(variable: "PBS_MASTER_PASSWORD", credential: "master-password")
}

struct KeyImportMasterPublicKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-master-pubkey", abstract: "Makes encrypted backups carry their key for a master key.")

    @Argument(help: ArgumentHelp("The public half, a PEM file.", valueName: "path")) var path: String

    mutating func run() async throws {
        let bytes: [UInt8]
        do { bytes = try FileSystem.read(path, limit: KeyFile.maxByteCount) } catch {
            throw error.failure("The master key \(path) cannot be read")
        }
        _ = try MasterPublicKey(pem: String(decoding: bytes, as: UTF8.self))
        guard let target = ClientFiles(environment: .current).masterKeyFile else {
            throw BackupFailure(.invalidInput, "There is no home folder to keep keys in")
        }
        try KeyFiles.write(bytes, to: target, replaces: true)
        Output.note("Encrypted backups now carry their key, sealed for this master key.")
    }
}

struct KeyImportWithMasterKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-with-master-key", abstract: "Recovers a backup's key with the master key.",
        discussion: "Restore rsa-encrypted.key of the snapshot first; it needs no key.")

    @Argument(
        help: ArgumentHelp("The private half of the master key, a PEM file.", valueName: "master-keyfile"),
        completion: .file())
    var masterKeyfile: String
    @Argument(
        help: ArgumentHelp("The restored rsa-encrypted.key.", valueName: "encrypted-keyfile"), completion: .file())
    var encryptedKeyfile: String
    @OptionGroup var file: KeyFileArgument
    @OptionGroup var protection: KeyProtectionOptions

    mutating func run() async throws {
        let target = try file.path()
        let pem: [UInt8]
        let sealed: [UInt8]
        do {
            pem = try FileSystem.read(masterKeyfile, limit: MasterPrivateKey.maxByteCount)
            sealed = try FileSystem.read(encryptedKeyfile, limit: KeyFile.maxByteCount)
        } catch {
            throw error.failure("The files cannot be read")
        }
        let text = String(decoding: pem, as: UTF8.self)
        let master = try MasterPrivateKey(
            pem: text, passphrase: text.contains("ENCRYPTED") ? try Self.masterPassphrase() : nil)
        let key = try master.decrypt(sealed).open()
        let recovered = try KeyFile(
            for: key, protection: try protection.ask(for: "the key", from: .encryptionPassword),
            created: TimeSource.system.seconds)
        try KeyFiles.write(recovered.encoded, to: target, replaces: false)
        Output.note("The key is in \(target).")
    }

    private static func masterPassphrase() throws -> [UInt8] {
        if let text = try SecretSource.masterPassword.value(in: .current) { return Array(text.utf8) }
        guard Terminal.isThere, let text = Terminal.askSecret("Passphrase of the master key: ") else {
            throw BackupFailure(
                .invalidInput, "The master key needs its passphrase", hints: ["Set PBS_MASTER_PASSWORD."])
        }
        return Array(text.utf8)
    }
}
