import BackupClient
import BackupFormats
import Foundation
import Platform
import Testing

/// A folder of its own, removed in the end.
final class ScratchFolder: Sendable {
    let path: String

    init() throws { path = try FileSystem.makeTemporaryFolder(prefix: "cairn-settings-") }
    deinit { try? FileSystem.removeTree(path) }

    func write(_ name: String, _ text: String) throws -> String {
        try AtomicFile.replace("\(path)/\(name)", with: Array(text.utf8))
        return "\(path)/\(name)"
    }
}

@Suite("A secret")
struct SecretSourceTests {
    let folder: ScratchFolder
    init() throws { folder = try ScratchFolder() }

    private func value(_ variables: [String: String]) throws -> String? {
        try SecretSource.password.value(in: Environment(variables: variables))
    }

    @Test("comes from the first place that has it")
    func order() throws {
        let file = try folder.write("secret", "from file\nsecond line\n")
        let places = ["PBS_PASSWORD_FILE": file, "PBS_PASSWORD_CMD": "echo from command"]
        #expect(try value([:]) == nil)
        #expect(try value(["PBS_PASSWORD_CMD": "echo from command"]) == "from command")
        #expect(try value(places) == "from file")
        #expect(try value(places.merging(["PBS_PASSWORD": "plain\nmore"]) { $1 }) == "plain")
    }

    @Test("comes from an open descriptor")
    func descriptor() throws {
        let file = try OpenFile(try folder.write("fd", "from descriptor\r\n"))
        #expect(try value(["PBS_PASSWORD_FD": String(file.descriptor)]) == "from descriptor")
    }

    @Test("comes from a credential of systemd at last")
    func credential() throws {
        _ = try folder.write("proxmox-backup-client.password", "credential")
        #expect(try value(["CREDENTIALS_DIRECTORY": folder.path]) == "credential")
    }

    @Test(
        "that a named place does not give is an error",
        arguments: [
            ["PBS_PASSWORD_FD": "x"], ["PBS_PASSWORD_FILE": "/nowhere/at/all"], ["PBS_PASSWORD_CMD": "exit 3"],
        ])
    func missing(_ variables: [String: String]) {
        #expect(throws: BackupFailure.self) { try value(variables) }
    }
}

@Suite("The client's files")
struct ClientFilesTests {
    let folder: ScratchFolder
    let files: ClientFiles

    init() throws {
        folder = try ScratchFolder()
        files = ClientFiles(
            environment: Environment(variables: [
                "XDG_CONFIG_HOME": folder.path + "/config", "XDG_RUNTIME_DIR": folder.path + "/run",
            ]))
    }

    @Test("keep the newest fingerprint of each server")
    func fingerprints() throws {
        #expect(try files.fingerprint(of: "h") == nil)
        try files.setFingerprint("aa", of: "h")
        try files.setFingerprint("bb", of: "other")
        try files.setFingerprint("cc", of: "h")
        #expect(try files.fingerprint(of: "h") == "cc")
        #expect(try files.fingerprint(of: "other") == "bb")
    }

    @Test("keep tickets for two hours, for their user alone")
    func tickets() throws {
        let user = try #require(AuthID(parsing: "u@pbs"))
        let ticket = LoginTicket(ticket: "PBS:u@pbs:0::x", csrf: "c", issued: 1000)
        try files.setTicket(ticket, of: user, at: "h", now: 1000)
        #expect(files.ticket(of: user, at: "h", now: 5000) == ticket)
        #expect(files.ticket(of: user, at: "other", now: 5000) == nil)
        #expect(files.ticket(of: .root, at: "h", now: 5000) == nil)
        #expect(files.ticket(of: user, at: "h", now: 1000 + 7140) == nil)
        try files.setTicket(nil, of: user, at: "h", now: 5000)
        #expect(files.ticket(of: user, at: "h", now: 5000) == nil)
        let status = try #require(try FileSystem.status(folder.path + "/run/proxmox-backup/tickets"))
        #expect(status.mode & 0o777 == 0o600)
    }
}

@Suite("A backup source")
struct BackupSourceTests {
    @Test(
        "is read with its type",
        arguments: [
            ("root.pxar:/etc", "root.pxar.didx"), ("disk.img:/dev/sdb", "disk.img.fidx"),
            ("app.conf:/etc/app.conf", "app.conf.blob"),
            ("run.log:a:b", "run.log.blob"), ("pipe.img:-", "pipe.img.fidx"),
        ])
    func reads(_ text: String, _ archive: String) throws {
        #expect(try BackupSource(parsing: text).archive.name == archive)
    }

    @Test(
        "is refused without name, type or path",
        arguments: [
            "", "root.pxar", "root.pxar:", "root:/etc", ".pxar:/etc", "a.b.pxar:/etc", "root.zip:/etc",
            "ro ot.pxar:/etc",
            "ä.pxar:/etc",
        ])
    func refuses(_ text: String) {
        #expect(throws: BackupFailure.self) { try BackupSource(parsing: text) }
    }
}
