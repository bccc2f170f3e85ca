import ArgumentParser
import BackupClient
import BackupFormats
import BlobEncryption
import Platform
import Testing

@testable import Commands

@Suite("A key file")
final class KeyFileCommandTests {
    let folder: String

    init() throws { folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-keys-") }
    deinit { try? FileSystem.removeTree(folder) }

    private func environment(_ variables: [String: String] = [:]) -> Environment {
        Environment(variables: variables.merging(["XDG_CONFIG_HOME": folder]) { $1 })
    }

    private func write(_ protection: KeyFile.Protection, to name: String) throws -> EncryptionKey {
        let key = EncryptionKey.generate()
        let file = try KeyFile(for: key, protection: protection, created: 1_700_000_000)
        try KeyFiles.write(file.encoded, to: "\(folder)/\(name)", replaces: false)
        return key
    }

    @Test("of the user's configuration is used where none is named")
    func standard() throws {
        #expect(try KeyOptions.parse([]).key(environment()) == nil)
        let key = try write(.none, to: "proxmox-backup/encryption-key.json")
        #expect(try KeyOptions.parse([]).key(environment())?.key.fingerprint == key.fingerprint)
        #expect(try KeyOptions.parse(["--crypt-mode", "none"]).key(environment()) == nil)
        #expect(try KeyOptions.parse([]).protection(time: 1, environment()).mode == .encrypt)
        #expect(
            try KeyOptions.parse(["--crypt-mode", "sign-only"]).protection(time: 1, environment()).mode == .signOnly)
    }

    @Test("with a passphrase takes it from the environment")
    func passphrase() throws {
        let key = try write(.pbkdf2(passphrase: Array("long enough".utf8), hint: "how long?"), to: "key")
        let options = try KeyOptions.parse(["--keyfile", "\(folder)/key"])
        let opened = try options.key(environment(["PBS_ENCRYPTION_PASSWORD": "long enough"]))
        #expect(opened?.key.fingerprint == key.fingerprint)
        let failure = #expect(throws: BackupFailure.self) {
            try options.key(environment(["PBS_ENCRYPTION_PASSWORD": "another one"]))
        }
        #expect(failure?.hints.contains { $0.contains("how long?") } == true)
    }

    @Test("that is missing is an error where a mode asks for one")
    func missing() throws {
        let failure = #expect(throws: BackupFailure.self) {
            try KeyOptions.parse(["--crypt-mode", "encrypt"]).key(environment())
        }
        #expect(failure?.hints.isEmpty == false)
        #expect(throws: BackupFailure.self) { try KeyOptions.parse(["--keyfile", "/nowhere"]).key(environment()) }
    }

    @Test("is not replaced by a new one, and can be read by its owner alone")
    func safe() throws {
        _ = try write(.none, to: "key")
        #expect(throws: BackupFailure.self) { try KeyFiles.write([1], to: "\(folder)/key", replaces: false) }
        let status = try #require(try FileSystem.status("\(folder)/key"))
        #expect(status.mode & 0o777 == 0o600)
    }
}
