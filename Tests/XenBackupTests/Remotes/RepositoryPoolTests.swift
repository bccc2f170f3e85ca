import BackupFormats
import CairnTestSupport
import Logging
import Platform
import Synchronization
import Tasks
import Testing
import XenBackup

/// A repository that only knows its files.
private struct PlainRepository: XenRepository {
    let files: any RemoteFiles
    let remoteID: String
    let name: String

    func info() async throws -> JSONObject { try await files.info() }
    func test() async -> JSONObject { await RemoteTester.test(files, time: .system) }
    func totalBackupSize() async throws -> JSONObject { ["onDisk": 0] }
    func vmBackups(of vm: String?) async throws -> [String: [VMBackup]] { [:] }
    func target(for vm: String) async throws -> any VMBackupTarget { throw Self.none }
    func openBackup(_ id: String) async throws -> any VMBackupReader { throw Self.none }
    func deleteVMBackups(_ ids: [String], task: TaskNode) async throws {}
    func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject] { [] }
    func writeMetadataBackup(_ backup: MetadataBackup) async throws {}
    func readMetadataBackup(
        _ id: String
    ) async throws -> (metadata: JSONObject, dataName: String, data: any ByteSource) { throw Self.none }
    func deleteMetadataBackup(_ id: String) async throws {}
    func close() async { await files.close() }

    private static let none = BackupFailure(.notFound, "There is none")
}

/// Takes `/chunkstore/<name>` and folders with a marker for stores.
private struct FakeStores: ChunkStoreOpening {
    func open(mappedPath path: String, remoteID: String, name: String) async throws -> (any XenRepository)? {
        guard path.hasPrefix("/chunkstore/") else { return nil }
        return PlainRepository(files: NoFiles(), remoteID: remoteID, name: "store")
    }

    func open(folder: String, remoteID: String, name: String) async throws -> (any XenRepository)? {
        guard try FileSystem.exists("\(folder)/.xo-chunkstore.json") else { return nil }
        return PlainRepository(files: NoFiles(), remoteID: remoteID, name: "store in a folder")
    }
}

private struct NoFiles: RemoteFiles {
    let capabilities = RemoteCapabilities(isFileSystem: false)
    private static let none = BackupFailure(.unsupported, "There are no files")

    func list(_ folder: String) async throws -> [String] { [] }
    func size(of path: String) async throws -> UInt64 { throw Self.none }
    func read(_ path: String, limit: Int) async throws -> [UInt8] { throw Self.none }
    func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8] { throw Self.none }
    func stream(_ path: String) async throws -> any ByteSource { throw Self.none }
    func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws { throw Self.none }
    func write(
        _ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode
    ) async throws -> UInt64 { throw Self.none }
    func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile { throw Self.none }
    func move(_ path: String, to target: String, _ mode: WriteMode) async throws { throw Self.none }
    func remove(_ path: String) async throws {}
    func removeTree(_ path: String) async throws {}
    func makeFolder(_ path: String) async throws {}
    func lock(_ path: String, patience: Duration) async throws -> any RemoteLock { throw Self.none }
    func info() async throws -> JSONObject { [:] }
    func close() async {}
}

@Suite("The pool of open remotes")
struct RepositoryPoolTests {
    private final class Setting: Sendable {
        let folder: TemporaryFolder
        let mounts = RecordedMounts()
        let pool: RepositoryPool

        init(allowsFileRemotes: Bool = true, idle: Duration = .seconds(600)) throws {
            folder = try TemporaryFolder()
            var configuration = RepositoryPool.Configuration()
            configuration.allowsFileRemotes = allowsFileRemotes
            configuration.idle = idle
            pool = RepositoryPool(
                configuration: configuration, mounter: mounts.mounter("\(folder.path)/mounts"),
                chunkStores: FakeStores(), time: .system, logger: Logger(label: "test")
            ) { files, remote in
                PlainRepository(files: files, remoteID: remote.id, name: remote.name)
            }
        }

        var file: JSONObject { ["url": .string("file://\(folder.path)/remote")] }
    }
    private static let nfs: JSONObject = ["url": "nfs://host:/export", "id": "r1", "name": "offsite", "enabled": true]

    @Test("opens a folder, and tells the remote's id and name")
    func opens() async throws {
        let setting = try Setting()
        var remote = setting.file
        remote["id"] = "r1"
        let named = try await setting.pool.open(remote)
        #expect(named.remoteID == "r1" && named.name == "r1")
        remote["name"] = "mine"
        let other = try await setting.pool.open(remote)
        #expect(other.name == "mine")
        let plain = try await setting.pool.open(setting.file)
        #expect(plain.remoteID == "" && plain.name == "file://\(setting.folder.path)/remote")
        for repository in [named, other, plain] { await repository.close() }
    }

    @Test("tests a remote with 10 MiB and leaves no file")
    func tests() async throws {
        let setting = try Setting()
        let repository = try await setting.pool.open(setting.file)
        let result = await repository.test()
        #expect(result["success"] == true)
        #expect(try #require(result["writeRate"]?.intValue) > 0)
        #expect(try #require(result["readRate"]?.intValue) > 0)
        #expect(try FileSystem.list("\(setting.folder.path)/remote") == [])
        let failed = await RemoteTester.test(NoFiles(), time: .system)
        #expect(failed["success"] == false)
        #expect(failed["step"] == "write")
        #expect(failed["file"]?.stringValue?.hasSuffix(".test") == true)
        #expect(failed["error"]?["message"]?.stringValue == "There are no files")
        await repository.close()
    }

    @Test(
        "refuses what is not built, and names it",
        arguments: [
            ("azure://account:key@host/container", "Azure remotes are not supported yet"),
            ("azurite://account:key@host/container", "Azure remotes are not supported yet"),
            ("file:///x?useVhdDirectory=true&encryptionKey=%22k%22", "encrypted remotes are not supported yet"),
            ("s3://a:b@h/b?useVhdDirectory=true&encryptionKey=%22k%22", "encrypted remotes are not supported yet"),
        ])
    func unsupported(_ url: String, _ text: String) async throws {
        let setting = try Setting()
        await #expect {
            _ = try await setting.pool.open(["url": .string(url)])
        } throws: { error in
            (error as? BackupFailure)?.kind == .unsupported && "\(error)".hasPrefix(text)
        }
    }

    @Test("refuses folders of this machine unless they are allowed; chunk stores always may")
    func fileRemotes() async throws {
        let setting = try Setting(allowsFileRemotes: false)
        await expectFailure(.notAuthorized) { _ = try await setting.pool.open(setting.file) }
        #expect(try !FileSystem.exists("\(setting.folder.path)/remote"))
        let store = try await setting.pool.open(["url": "file:///chunkstore/main", "id": "x"])
        #expect(store.name == "store" && store.remoteID == "x")
        await store.close()
    }

    @Test("finds what lies in a folder: a datastore of ours, one of others, an encrypted remote")
    func content() async throws {
        let setting = try Setting()
        let root = "\(setting.folder.path)/remote"
        try FileSystem.makeFolders("\(root)/.chunks", mode: 0o700)
        await expectFailure(.invalidInput) { _ = try await setting.pool.open(setting.file) }
        try AtomicFile.replace("\(root)/.xo-chunkstore.json", with: Array("{}".utf8))
        let store = try await setting.pool.open(setting.file)
        #expect(store.name == "store in a folder")
        await store.close()
        try FileSystem.removeTree(root)
        let encryption = "\(root)/encryption.json"
        try FileSystem.makeFolders(root, mode: 0o700)
        try AtomicFile.replace(encryption, with: Array(#"{"algorithm":"aes-256-gcm"}"#.utf8))
        await expectFailure(.unsupported) { _ = try await setting.pool.open(setting.file) }
        try AtomicFile.replace(encryption, with: Array(#"{"algorithm":"none"}"#.utf8))
        await (try await setting.pool.open(setting.file)).close()
    }

    @Test("says of a remote that its disks should be folders of blocks, and of others that they should not")
    func blockFolders() async throws {
        let setting = try Setting()
        let plain = try await setting.pool.openFiles(setting.file)
        #expect(!plain.capabilities.usesBlockFolders)
        let url = try #require(setting.file["url"]?.stringValue)
        let files = try await setting.pool.openFiles(["url": .string(url + "?useVhdDirectory=true")])
        #expect(files.capabilities.usesBlockFolders)
        #expect(files.capabilities.isFileSystem)
        for files in [plain, files] { await files.close() }
    }

    @Test("refuses a remote without a readable address")
    func noAddress() async throws {
        let setting = try Setting()
        await expectFailure(.invalidInput) { _ = try await setting.pool.open([:]) }
        await expectFailure(.invalidInput) { _ = try await setting.pool.open(["url": "ftp://x"]) }
        await expectFailure(.invalidInput) { _ = try await setting.pool.open(["url": 7]) }
    }

    @Test("mounts once for all who use it, and unmounts when it has rested")
    func shares() async throws {
        let setting = try Setting(idle: .milliseconds(50))
        let all = try await withThrowingTaskGroup(of: (any XenRepository).self) { group in
            for _ in 0..<8 { group.addTask { try await setting.pool.open(Self.nfs) } }
            return try await group.reduce(into: [any XenRepository]()) { $0.append($1) }
        }
        #expect(setting.mounts.calls.map { $0.program } == ["mount"])
        for repository in all.dropFirst() { await repository.close() }
        try await Task.sleep(for: .milliseconds(200))
        #expect(setting.mounts.calls.count == 1, "one still uses it")
        #expect(try await all[0].info()["size"] != nil)
        await all[0].close()
        try await eventually { setting.mounts.calls.map { $0.program } == ["mount", "umount"] }
        let again = try await setting.pool.open(Self.nfs)
        #expect(setting.mounts.calls.last?.program == "mount")
        await again.close()
    }

    @Test("keeps open what is used again soon, and closes it when the server stops")
    func rests() async throws {
        let setting = try Setting()
        for _ in 0..<3 { await (try await setting.pool.open(Self.nfs)).close() }
        #expect(setting.mounts.calls.map { $0.program } == ["mount"])
        await setting.pool.close()
        #expect(setting.mounts.calls.map { $0.program } == ["mount", "umount"])
    }

    @Test("opens anew where options or password differ; what is alike below is mounted once")
    func keys() async throws {
        let setting = try Setting()
        var other = Self.nfs
        other["options"] = "vers=3"
        var sameMount = Self.nfs
        sameMount["url"] = "nfs://host:/export?unknown=true"
        var all: [any XenRepository] = []
        for remote in [Self.nfs, other, sameMount] { all.append(try await setting.pool.open(remote)) }
        #expect(setting.mounts.mounted.count == 2)
        #expect(setting.mounts.calls.count == 2)
        for repository in all { await repository.close() }
        await setting.pool.close()
        #expect(setting.mounts.mounted.isEmpty)
    }

    @Test("tries again after a failure")
    func retries() async throws {
        let setting = try Setting()
        setting.mounts.refuse("no route to host")
        await expectFailure(.unavailable) { _ = try await setting.pool.open(Self.nfs) }
        setting.mounts.refuse(nil)
        await (try await setting.pool.open(Self.nfs)).close()
    }

    @Test("does not keep a caller waiting who is cancelled, or beyond the limit")
    func hangs() async throws {
        let folder = try TemporaryFolder()
        let isReleased = Atomic(false)
        let mounter = Mounter(folder: folder.path) { _, _, _ in
            while !isReleased.load(ordering: .relaxed) { try? await Task.sleep(for: .milliseconds(10)) }
            return (1, "hung up")
        } isMountPoint: { _ in
            false
        }
        var configuration = RepositoryPool.Configuration()
        configuration.openLimit = .milliseconds(100)
        let pool = RepositoryPool(
            configuration: configuration, mounter: mounter, chunkStores: nil, time: .system,
            logger: Logger(label: "test")
        ) { files, remote in
            PlainRepository(files: files, remoteID: remote.id, name: remote.name)
        }
        await #expect {
            _ = try await pool.open(Self.nfs)
        } throws: { "\($0)".contains("offsite did not open within") }
        let waiting = Task { try await pool.open(Self.nfs) }
        waiting.cancel()
        await #expect(throws: (any Error).self) { _ = try await waiting.value }
        isReleased.store(true, ordering: .relaxed)
    }
}
