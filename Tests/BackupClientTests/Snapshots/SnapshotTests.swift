import BackupClient
import BackupFormats
import BlobEncryption
import CairnTestSupport
import Chunking
import Datastore
import Foundation
import Platform
import Synchronization
import Testing

@Suite("A snapshot")
struct SnapshotTests {
    let world: ClientWorld

    init() throws { world = try ClientWorld() }

    /// A small tree with some of everything that needs no privileges.
    private func makeTree(_ name: String) throws -> String {
        let root = world.folder.appending(path: name)
        for folder in ["a/b/c", "empty", "ünï"] {
            try FileManager.default.createDirectory(at: root.appending(path: folder), withIntermediateDirectories: true)
        }
        for (file, count) in [
            ("a/one", 1), ("a/b/page", 4096), ("a/b/c/big", 1_500_000), ("zero", 0), ("ünï/x", 70_000),
        ] {
            try Data(SystemRandom.bytes(count)).write(to: root.appending(path: file))
        }
        try Data(GeneratedData.lines("text", 100_000)).write(to: root.appending(path: "text"))
        try FileManager.default.createSymbolicLink(
            atPath: root.appending(path: "link").path, withDestinationPath: "a/one")
        try FileManager.default.linkItem(at: root.appending(path: "a/one"), to: root.appending(path: "hard"))
        return root.path
    }

    /// Path → kind and content.
    private func listing(_ root: String) throws -> [String: String] {
        var result: [String: String] = [:]
        for case let path as String in try #require(FileManager.default.enumerator(atPath: root)) {
            let full = "\(root)/\(path)"
            let attributes = try FileManager.default.attributesOfItem(atPath: full)
            let kind = attributes[.type] as? FileAttributeType
            let content =
                switch kind {
                case .typeRegular?: "\(ChunkDigest(hashing: Array(try Data(contentsOf: URL(fileURLWithPath: full)))))"
                case .typeSymbolicLink?: try FileManager.default.destinationOfSymbolicLink(atPath: full)
                default: ""
                }
            result[path] = "\(kind?.rawValue ?? "") \(attributes[.posixPermissions] ?? 0) \(content)"
        }
        return result
    }

    private func sources(_ specifications: String...) throws -> [BackupSource] {
        try specifications.map { try BackupSource(parsing: $0) }
    }

    private func read(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    @Test("of folder, image and file comes back as it was")
    func roundTrip() async throws {
        let tree = try makeTree("tree")
        let image =
            try SystemRandom.bytes(5_000_000) + [UInt8](repeating: 0, count: 9_000_000) + SystemRandom.bytes(777)
        try Data(image).write(to: world.folder.appending(path: "disk"))
        try Data("key = value\n".utf8).write(to: world.folder.appending(path: "app"))
        let result = try await world.backup(
            try sources("root.pxar:\(tree)", "disk.img:\(world.path("disk"))", "app.conf:\(world.path("app"))"), day: 1)
        #expect(
            result.manifest.files.map { $0.name.name } == [
                "root.pxar.didx", "disk.img.fidx", "app.conf.blob", "catalog.pcat1.didx",
            ])

        try await world.restore(day: 1) { download in
            _ = try await download.restoreTree(
                try download.file(named: "root.pxar"), into: world.path("back"), options: TreeExtractOptions(),
                warn: { _ in })
            try await download.writeImage(
                try download.file(named: "disk.img"), to: try ImageTarget(world.path("disk2")))
            #expect(try await download.blob(try download.file(named: "app.conf")) == Array("key = value\n".utf8))
        }
        #expect(try listing(world.path("back")) == listing(tree))
        #expect(try read(world.path("disk2")) == image)
        let status = try #require(try FileSystem.status(world.path("disk2")))
        #expect(status.byteCount == image.count)
    }

    @Test("is sent in appends of at most 64 chunks, each after its chunks")
    func wire() async throws {
        let tree = try makeTree("tree")
        let result = try await world.backup(try sources("root.pxar:\(tree)"), day: 1)
        #expect(result.calls.first == "GET /previous_backup_time")
        #expect(result.calls.last == "POST /finish")
        #expect(result.calls.count { $0 == "POST /dynamic_index" } == 2)
        #expect(result.calls.count { $0 == "POST /dynamic_close" } == 2)
        #expect(result.calls.count { $0 == "POST /dynamic_chunk" } == Int(result.statistics.sentChunks))
    }

    @Test("that has not changed sends no chunk")
    func incremental() async throws {
        let tree = try makeTree("tree")
        try Data(SystemRandom.bytes(9_000_000)).write(to: world.folder.appending(path: "disk"))
        let all = try sources("root.pxar:\(tree)", "disk.img:\(world.path("disk"))")
        let first = try await world.backup(all, day: 1)
        #expect(first.statistics.sentBytes > 0)
        let second = try await world.backup(all, day: 2)
        #expect(second.statistics.sentChunks == 0)
        #expect(second.statistics.readBytes == first.statistics.readBytes)
        #expect(!second.calls.contains { $0.hasSuffix("_chunk") })
        #expect(second.calls.count { $0 == "GET /previous" } == 4)
        #expect(second.notes == [])
    }

    @Test("in which little has changed sends little")
    func littleChange() async throws {
        let path = world.path("disk")
        var content = try SystemRandom.bytes(12 << 20)
        try Data(content).write(to: URL(fileURLWithPath: path))
        try await world.backup(try sources("disk.img:\(path)"), day: 1)
        content[5 << 20] ^= 1
        try Data(content).write(to: URL(fileURLWithPath: path))
        let second = try await world.backup(try sources("disk.img:\(path)"), day: 2)
        #expect(second.statistics.sentChunks == 1)
        #expect(second.statistics.knownChunks == 2)
    }

    @Test("that is encrypted comes back with its key only")
    func encrypted() async throws {
        let tree = try makeTree("tree")
        let key = EncryptionKey.generate()
        let file = try KeyFile(for: key, protection: .none, created: 1_700_000_000)
        let protection = try ContentProtection(.encrypt, key: key, from: file, master: nil, time: 1_700_000_000)
        let first = try await world.backup(try sources("root.pxar:\(tree)"), day: 1, protection: protection)
        #expect(first.manifest.signature != nil)
        #expect(first.manifest.files.allSatisfy { $0.cryptMode == .encrypt })
        let second = try await world.backup(try sources("root.pxar:\(tree)"), day: 2, protection: protection)
        #expect(second.statistics.sentChunks == 0)

        try await world.restore(day: 2, key: key) { download in
            _ = try await download.restoreTree(
                try download.file(named: "root.pxar"), into: world.path("back"), options: TreeExtractOptions(),
                warn: { _ in })
        }
        #expect(try listing(world.path("back")) == listing(tree))

        await #expect(throws: BackupFailure.self) {
            try await world.restore(day: 2) { try await $0.stream(try $0.file(named: "root.pxar")) { _ in } }
        }
        let otherKey = EncryptionKey.generate()
        let other = try await #require(throws: BackupFailure.self) {
            try await world.restore(day: 2, key: otherKey) { _ in }
        }
        #expect(other.summary.contains("was made with the key"))
    }

    @Test("of another key, or of none, is not built upon")
    func otherKey() async throws {
        let tree = try makeTree("tree")
        let sources = try sources("root.pxar:\(tree)")
        try await world.backup(sources, day: 1)
        for day in 2...3 {
            let key = EncryptionKey.generate()
            let file = try KeyFile(for: key, protection: .none, created: 1_700_000_000)
            let protection = try ContentProtection(.encrypt, key: key, from: file, master: nil, time: 1_700_000_000)
            let result = try await world.backup(sources, day: day, protection: protection)
            #expect(result.statistics.knownBytes < result.statistics.readBytes / 10)
        }
    }

    @Test("without a signature is refused where there is a key, unless that is wanted")
    func unsigned() async throws {
        let tree = try makeTree("tree")
        try await world.backup(try sources("root.pxar:\(tree)"), day: 1)
        let key = EncryptionKey.generate()
        let failure = try await #require(throws: BackupFailure.self) {
            try await world.restore(day: 1, key: key) { _ in }
        }
        #expect(failure.summary.contains("not signed"))
        try await world.restore(day: 1, key: key, acceptsUnsigned: true) { download in
            try await download.stream(try download.file(named: "root.pxar")) { _ in }
        }
    }

    @Test("can be signed only")
    func signedOnly() async throws {
        let tree = try makeTree("tree")
        let key = EncryptionKey.generate()
        let file = try KeyFile(for: key, protection: .none, created: 1_700_000_000)
        let protection = try ContentProtection(.signOnly, key: key, from: file, master: nil, time: 1_700_000_000)
        try await world.backup(try sources("root.pxar:\(tree)"), day: 1, protection: protection)
        let count = Mutex(0)
        try await world.restore(day: 1, key: key) { download in
            try await download.stream(try download.file(named: "root.pxar")) { bytes in
                count.withLock { $0 += bytes.count }
            }
            #expect(count.withLock { $0 } == Int(try download.file(named: "root.pxar").size))
        }
    }

    @Test("of a stream of unknown length is an image")
    func stream() async throws {
        let content = try SystemRandom.bytes(9_000_001)
        try Data(content).write(to: world.folder.appending(path: "input"))
        for day in 1...2 {
            let input = try OpenFile(world.path("input"))
            let archive = try #require(ArchiveName("pipe.img.fidx"))
            let source = BackupSource(archive: archive, content: .stream(descriptor: input.descriptor))
            let result = try await world.backup([source], day: day)
            #expect(result.manifest.file(archive)?.size == UInt64(content.count))
            #expect(result.manifest.files.map { $0.name } == [archive, .catalog])
            if day == 2 { #expect(result.statistics.sentBytes == 0) }
        }
        try await world.restore(day: 2) { download in
            try await download.writeImage(
                try download.file(named: "pipe.img"), to: try ImageTarget(world.path("output")))
        }
        #expect(try read(world.path("output")) == content)
    }

    @Test(
        "whose connection breaks is not there, and says what broke",
        arguments: [
            "/dynamic_index", "/dynamic_chunk", "/dynamic_close", "/fixed_chunk", "/blob", "/finish",
        ])
    func broken(at path: String) async throws {
        let tree = try makeTree("tree")
        try Data(SystemRandom.bytes(9 << 20)).write(to: world.folder.appending(path: "disk"))
        let snapshot = try ClientWorld.snapshot(1)
        let transport = try await world.openBackup(snapshot)
        transport.breakAt(path, after: path == "/dynamic_chunk" ? 5 : 0)
        let upload = SnapshotUpload(snapshot, transport: transport, protection: .none)
        try await upload.loadPrevious()
        let job = BackupJob(
            sources: try sources("root.pxar:\(tree)", "disk.img:\(world.path("disk"))"),
            chunker: try #require(.init(averageSize: 64 << 10)))
        let failure = try await #require(throws: BackupFailure.self) { try await job.run(upload) { _ in } }
        #expect(failure.kind == .unavailable)
        await transport.close()
        #expect(try world.store.snapshots(in: .root, group: snapshot.group).isEmpty)
    }

    @Test("of a folder that is not there fails before anything is begun")
    func missing() async throws {
        let failure = try await #require(throws: BackupFailure.self) {
            try await world.backup(try sources("root.pxar:\(world.path("nowhere"))"), day: 1)
        }
        #expect(failure.summary.contains("nowhere"))
    }

    @Test("is read many chunks at a time, and in order")
    func parallelRestore() async throws {
        let content = try SystemRandom.bytes(6 << 20)
        try Data(content).write(to: world.folder.appending(path: "disk"))
        try FileManager.default.createDirectory(atPath: world.path("one"), withIntermediateDirectories: true)
        try Data(content).write(to: world.folder.appending(path: "one/file"))
        try await world.backup(try sources("one.pxar:\(world.path("one"))"), day: 1)
        let snapshot = try ClientWorld.snapshot(1)
        let transport = try await world.openReader(snapshot)
        let download = try await SnapshotDownload.open(snapshot, transport: transport, key: nil)
        let bytes = Mutex<[UInt8]>([])
        try await download.stream(try download.file(named: "one.pxar")) { piece in bytes.withLock { $0 += piece } }
        #expect(transport.maxInFlight > 8)
        let whole = bytes.withLock { $0 }
        #expect(Data(whole).range(of: Data(content)) != nil)
        await transport.close()
    }
}
