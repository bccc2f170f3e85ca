import BackupFormats
import CairnTestSupport
import Platform
import Testing
import XenBackup

@Suite("A remote in a folder")
struct FileRemoteTests {
    @Test("keeps the contract", arguments: RemoteContract.all)
    func contract(_ part: RemoteContract) async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open("\(folder.path)/new/root", name: "test", time: .system)
        try await part.check(remote, "contract")
        await remote.close()
        #expect(try FileSystem.list(folder.path + "/new") == ["root"])
    }

    @Test("makes folders that only its user can enter, and files that only its user can read")
    func modes() async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open("\(folder.path)/root", name: "test", time: .system)
        try await remote.write("a/b", [1], .new)
        for (path, mode) in [("root", 0o700), ("root/a", 0o700), ("root/a/b", 0o600)] as [(String, UInt32)] {
            #expect(try FileSystem.status("\(folder.path)/\(path)")?.mode == mode, "\(path)")
        }
    }

    @Test("follows no link inside, wherever it leads")
    func links() async throws {
        let folder = try TemporaryFolder()
        try FileSystem.makeFolders("\(folder.path)/outside", mode: 0o700)
        try AtomicFile.replace("\(folder.path)/outside/secret", with: [1])
        let remote = try await FileRemote.open("\(folder.path)/root", name: "test", time: .system)
        try await remote.write("inside/file", [2], .new)
        let root = try OpenNode(folderAt: "\(folder.path)/root")
        try root.makeLink(Array("out".utf8), target: Array("../outside".utf8))
        try root.makeLink(Array("in".utf8), target: Array("inside".utf8))
        try root.makeLink(Array("secret".utf8), target: Array("../outside/secret".utf8))
        for path in ["out/secret", "in/file", "secret"] {
            await #expect(throws: BackupFailure.self, "\(path)") { try await remote.read(path, limit: 9) }
        }
        for path in ["out/new", "in/new"] {
            await #expect(throws: BackupFailure.self, "\(path)") { try await remote.write(path, [3], .new) }
        }
        await #expect(throws: BackupFailure.self) { try await remote.open("secret", .update) }
        try await remote.removeTree("out")
        try await remote.remove("secret")
        #expect(try FileSystem.list("\(folder.path)/outside") == ["secret"])
        // A name is replaced, not what it leads to.
        try root.makeLink(Array("secret".utf8), target: Array("../outside/secret".utf8))
        try await remote.write("secret", [4], .replace)
        #expect(try FileSystem.read("\(folder.path)/outside/secret", limit: 9) == [1])
        #expect(try await remote.read("secret", limit: 9) == [4])
    }

    @Test("opens files for access at any place")
    func openFiles() async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open(folder.path, name: "test", time: .system)
        let file = try await remote.open("a/disk", .create)
        try await file.write([1, 2, 3], at: 5)
        try await file.write([9], at: 0)
        try await file.sync()
        #expect(try await file.size() == 8)
        #expect(try await file.read(at: 0, count: 100) == [9, 0, 0, 0, 0, 1, 2, 3])
        try await file.truncate(to: 6)
        await file.close()
        await expectFailure(.internalFault) { try await file.size() }
        await expectFailure(.conflict) { _ = try await remote.open("a/disk", .create) }
        let again = try await remote.open("a/disk", .update)
        try await again.write([7], at: 1)
        #expect(try await again.read(at: 0, count: 100) == [9, 7, 0, 0, 0, 1])
        await again.close()
        let reader = try await remote.open("a/disk", .read)
        await #expect(throws: BackupFailure.self) { try await reader.write([1], at: 0) }
        #expect(try await reader.read(at: 4, count: 2) == [0, 1])
        await expectFailure(.notFound) { _ = try await remote.open("a/none", .read) }
        await expectFailure(.invalidInput) { _ = try await remote.open("a", .read) }
    }

    /// The mark that keeps root, too, from changing a folder, where the file system has it.
    private static let immutableFlag: UInt32 = 0x10

    @Test("that is read-only cannot be opened, and says so")
    func readOnly() async throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/root"
        try FileSystem.makeFolder(path, mode: 0o500)
        let node = try OpenNode(folderAt: path)
        if ProcessInformation.isRoot {
            guard let flags = node.flags(), (try? node.setFlags(flags | Self.immutableFlag)) != nil else {
                print("skipped: needs a file system with inode flags, or a user who is not root")
                return
            }
        }
        defer { if let flags = node.flags() { try? node.setFlags(flags & ~Self.immutableFlag) } }
        await #expect {
            _ = try await FileRemote.open(path, name: "safe", time: .system)
        } throws: { error in
            guard let failure = error as? BackupFailure else { return false }
            return failure.kind == .notAuthorized && failure.summary.contains("safe")
        }
    }

    @Test("that is marked as immutable is known as such")
    func immutable() async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open(folder.path, name: "test", time: .system)
        #expect(!remote.capabilities.isImmutable)
        try await remote.write("immutability.json", Array("{}".utf8), .new)
        let marked = try await FileRemote.open(folder.path, name: "test", time: .system)
        #expect(marked.capabilities.isImmutable)
    }

    @Test("lets go of its folder when it is closed")
    func closed() async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open(folder.path, name: "test", time: .system)
        await remote.close()
        await #expect(throws: BackupFailure.self) { try await remote.list("") }
    }

    @Test("tells its room")
    func info() async throws {
        let folder = try TemporaryFolder()
        let remote = try await FileRemote.open(folder.path, name: "test", time: .system)
        let info = try await remote.info()
        let size = try #require(info["size"]?.intValue)
        #expect(size > 0)
        #expect(try #require(info["used"]?.intValue) + #require(info["available"]?.intValue) <= size)
    }

    @Test("cannot be opened where a file lies")
    func noFolder() async throws {
        let folder = try TemporaryFolder()
        try AtomicFile.replace("\(folder.path)/file", with: [1])
        await #expect(throws: BackupFailure.self) {
            try await FileRemote.open("\(folder.path)/file/below", name: "test", time: .system)
        }
        await #expect(throws: BackupFailure.self) {
            try await FileRemote.open("\(folder.path)/file", name: "test", time: .system)
        }
    }
}
