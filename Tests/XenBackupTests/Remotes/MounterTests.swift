import BackupFormats
import CairnTestSupport
import Platform
import Synchronization
import Testing
import XenBackup

/// The system's helpers and the kernel's list of mounts, recorded.
final class RecordedMounts: Sendable {
    struct Call: Equatable {
        var program: String
        var arguments: [String]
        var secrets: [String: String]
    }

    private struct State {
        var calls: [Call] = []
        var mounted: Set<String> = []
        var refusal: String?
        var isBusy = false
        /// Mounting ends well, but nothing is mounted.
        var isIdle = false
    }
    private let state = Mutex(State())

    var calls: [Call] { state.withLock { $0.calls } }
    var mounted: Set<String> { state.withLock { $0.mounted } }

    func refuse(_ text: String?) { state.withLock { $0.refusal = text } }
    func setBusy(_ isBusy: Bool) { state.withLock { $0.isBusy = isBusy } }
    func setIdle(_ isIdle: Bool) { state.withLock { $0.isIdle = isIdle } }

    func mounter(_ folder: String) -> Mounter {
        Mounter(folder: folder) { program, arguments, secrets in
            // Others get a chance to come in between.
            await Task.yield()
            return self.state.withLock { state in
                state.calls.append(Call(program: program, arguments: arguments, secrets: secrets))
                let target = arguments.last ?? ""
                if program == "umount" {
                    guard !state.isBusy else { return (32, "umount: \(target): target is busy.") }
                    state.mounted.remove(target)
                } else {
                    if let refusal = state.refusal { return (32, refusal) }
                    if !state.isIdle { state.mounted.insert(target) }
                }
                return (0, "")
            }
        } isMountPoint: { path in
            self.mounted.contains(path)
        }
    }
}

@Suite("What is mounted")
struct MountCommandTests {
    private func command(_ url: String, _ extra: String? = nil) throws -> MountCommand {
        try #require(try MountCommand(RemoteURL(parsing: url), extra: extra))
    }

    @Test("from NFS has its port and the remote's options on the command line")
    func nfs() throws {
        let command = try command("nfs://192.168.1.5:2050:/media/nfs", "vers=4.1, soft,,")
        #expect(
            command.arguments(target: "/t") == [
                "-t", "nfs", "-o", "nosuid,nodev,port=2050,vers=4.1,soft", "--", "192.168.1.5:/media/nfs", "/t",
            ])
        #expect(command.secrets.isEmpty)
        #expect(
            try self.command("nfs://[fe80::1]:/x").arguments(target: "/t") == [
                "-t", "nfs", "-o", "nosuid,nodev", "--", "[fe80::1]:/x", "/t",
            ])
    }

    @Test("from SMB has its credentials in the environment only")
    func smb() throws {
        let command = try command("smb://me:pa,ss:w@rd@dom\\\\host\\share\0a\\b", "vers=3.0")
        #expect(
            command.arguments(target: "/t") == [
                "-t", "cifs", "-o", "nosuid,nodev,domain=dom,vers=3.0", "--", "//host/share/a/b", "/t",
            ])
        #expect(command.secrets == ["USER": "me", "PASSWD": "pa,ss:w@rd"])
    }

    @Test("is another one with another password or option, and has no secret in its name")
    func ids() throws {
        let urls = ["smb://a:b@d\\\\h\\s", "smb://a:c@d\\\\h\\s", "smb://a:b@e\\\\h\\s", "nfs://h:/s"]
        let ids = try urls.map { try command($0).id } + [try command(urls[0], "x").id]
        #expect(Set(ids).count == 5)
        #expect(try command(urls[0]).id == ids[0])
        #expect(ids.allSatisfy { $0.count == 16 })
    }

    @Test("is nothing for folders and buckets, and refuses what would become another option")
    func refuses() throws {
        #expect(try MountCommand(RemoteURL(parsing: "file:///x"), extra: nil) == nil)
        #expect(try MountCommand(RemoteURL(parsing: "s3://a:b@h/b"), extra: nil) == nil)
        #expect(throws: BackupFailure.self) { try command("smb://a:b@dom,uid=0\\\\h\\s") }
        #expect(throws: BackupFailure.self) { try command("nfs://h:/x", "vers=4\nsuid") }
    }
}

@Suite("A mounter")
struct MounterTests {
    private let command = {
        try MountCommand(RemoteURL(parsing: "nfs://host:/export"), extra: nil)
    }

    @Test("mounts once, accepts what is mounted already, and unmounts")
    func mounts() async throws {
        let folder = try TemporaryFolder()
        let mounts = RecordedMounts()
        let mounter = mounts.mounter("\(folder.path)/mounts")
        let command = try #require(try command())
        let target = try await mounter.mount(command, name: "r")
        #expect(target == "\(folder.path)/mounts/\(command.id)")
        #expect(try FileSystem.status(target)?.mode == 0o700)
        #expect(try await mounter.mount(command, name: "r") == target)
        #expect(mounts.calls.map { $0.program } == ["mount"])
        await mounter.unmount(command)
        #expect(mounts.calls.last == .init(program: "umount", arguments: ["--", target], secrets: [:]))
        #expect(mounts.mounted.isEmpty)
        #expect(try FileSystem.list("\(folder.path)/mounts") == [])
    }

    @Test("says what the helper said, and does not take an empty folder for a mount")
    func fails() async throws {
        let folder = try TemporaryFolder()
        let mounts = RecordedMounts()
        let mounter = mounts.mounter("\(folder.path)/mounts")
        let command = try #require(try command())
        mounts.refuse("mount.nfs: access denied\nby server")
        await #expect {
            _ = try await mounter.mount(command, name: "offsite")
        } throws: { error in
            "\(error)".contains("offsite") && "\(error)".contains("mount.nfs: access denied; by server")
        }
        mounts.refuse(nil)
        mounts.setIdle(true)
        await expectFailure(.unavailable) { _ = try await mounter.mount(command, name: "offsite") }
    }

    @Test("leaves a mount that somebody else uses")
    func busy() async throws {
        let folder = try TemporaryFolder()
        let mounts = RecordedMounts()
        let mounter = mounts.mounter(folder.path)
        let command = try #require(try command())
        let target = try await mounter.mount(command, name: "r")
        mounts.setBusy(true)
        await mounter.unmount(command)
        #expect(mounts.mounted == [target])
        #expect(try FileSystem.exists(target))
    }

    @Test("calls the programs of the system with arguments, and secrets in the environment")
    func standIn() async throws {
        let folder = try TemporaryFolder()
        let program = "\(folder.path)/mount"
        let script = "#!/bin/sh\nfor a in \"$@\"; do echo \"[$a]\"; done\necho \"$USER $PASSWD $LC_ALL\" >&2\nexit 32\n"
        try AtomicFile.replace(program, with: Array(script.utf8), mode: 0o755)
        let (status, output) = try await Mounter.system(
            program, ["-t", "cifs", "a b"], ["USER": "me", "PASSWD": "p w$(id)"])
        #expect(status == 32)
        #expect(output == "[-t]\n[cifs]\n[a b]\nme p w$(id) C\n")
        await expectFailure(.unavailable) { _ = try await Mounter.system("\(folder.path)/none", [], [:]) }
    }

    @Test("knows what is mounted from the kernel's list")
    func mountPoints() throws {
        #expect(try Mounter.isMountPoint("/proc"))
        let folder = try TemporaryFolder()
        #expect(try !Mounter.isMountPoint(folder.path))
    }
}
