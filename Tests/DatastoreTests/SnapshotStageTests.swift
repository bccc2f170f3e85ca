import BackupFormats
import BlobCoding
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("A snapshot being written")
struct SnapshotStageTests {
    let test: TestStore
    var store: Datastore { test.store }
    let backup = SampleBackup()

    init() throws { test = try TestStore() }

    func folder(_ backup: SampleBackup) -> String { "\(test.path)/\(backup.snapshot)" }

    @Test("is published complete, with the shape that the original gives it")
    func publishes() throws {
        let manifest = try backup.run(in: store)
        #expect(
            try FileSystem.list(folder(backup))
                == ["disk.img.fidx", "index.json.blob", "root.pxar.didx", "vm.conf.blob"])
        #expect(try FileSystem.status(folder(backup))?.mode == 0o755)
        for name in try FileSystem.list(folder(backup)) {
            #expect(try FileSystem.status("\(folder(backup))/\(name)")?.mode == 0o644, "\(name)")
        }
        #expect(try FileSystem.read("\(test.path)/host/sample/owner", limit: 100) == Array("tester@pbs\n".utf8))
        #expect(try FileSystem.status("\(test.path)/host/sample")?.mode == 0o755)
        #expect(try FileSystem.list("\(test.path)/.cairn/sessions") == [])
        let stored = try store.manifest(of: backup.snapshot, in: .root)
        #expect(stored.files == manifest.files)
        #expect(stored.uploadStatistics?.count == 6)
        #expect(store.sessions.activeCount == 0)
        let reader = try store.openReader(backup.snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).errors == [])
    }

    @Test("is listed while it runs, and seen nowhere in the tree")
    func running() throws {
        let stage = try backup.begin(in: store)
        _ = try backup.uploadStream(to: stage, of: store)
        let entry = try #require(try store.snapshots(in: .root).first)
        #expect(entry.runningTask == SampleBackup.task && !entry.isFinished && entry.owner == backup.owner)
        #expect(entry.files.map { $0.name } == [SampleBackup.stream])
        #expect(try store.groups(in: .root).map { $0.group } == [backup.snapshot.group])
        #expect(try store.owner(of: backup.snapshot.group, in: .root) == backup.owner)
        #expect(try FileSystem.list(test.path) == [".cairn", ".chunks", ".lock"])
        stage.discard()
        #expect(try store.groups(in: .root).isEmpty)
        #expect(try FileSystem.list(test.path) == [".cairn", ".chunks", ".lock"])
        #expect(try FileSystem.list("\(test.path)/.cairn/sessions") == [])
    }

    @Test("refuses what needs a finished snapshot, and says who writes it")
    func refusesWhileRunning() throws {
        let stage = try backup.begin(in: store)
        let (store, snapshot) = (store, backup.snapshot)
        let calls: [(String, () throws -> Void)] = [
            ("reader", { _ = try store.openReader(snapshot, in: .root, purpose: "a test") }),
            ("manifest", { _ = try store.manifest(of: snapshot, in: .root) }),
            ("notes", { try store.setNotes("x", of: snapshot, in: .root) }),
            ("protection", { try store.setProtected(true, snapshot, in: .root) }),
            ("log", { try store.storeClientLog([], for: snapshot, in: .root) }),
            ("forget", { try store.removeSnapshot(snapshot, in: .root) }),
            ("owner", { try store.setOwner(.root, of: snapshot.group, in: .root) }),
            ("group", { _ = try store.removeGroup(snapshot.group, in: .root) }),
            ("namespace", { _ = try store.removeNamespace(.root, includingGroups: true) }),
            ("close", { try store.close() }),
        ]
        for (name, call) in calls {
            let failure = #expect(throws: BackupFailure.self, "\(name)") { try call() }
            #expect(failure?.kind == .conflict, "\(name)")
            #expect(failure?.summary.contains("is still being written by task \(SampleBackup.task)") == true, "\(name)")
        }
        stage.discard()
    }

    @Test("keeps others out of its group, and is refused for wrong owners, times and places")
    func begins() throws {
        try backup.run(in: store)
        func refusal(_ change: (inout SampleBackup) -> Void, _ kind: BackupFailure.Kind, _ text: String) {
            var other = SampleBackup("host/sample/2024-06-02T00:00:00Z")
            change(&other)
            let failure = #expect(throws: BackupFailure.self) { try other.begin(in: store) }
            #expect(failure?.kind == kind && failure?.summary.contains(text) == true, "\(String(describing: failure))")
        }
        refusal({ $0.namespace = try! Namespace(parsing: "none") }, .notFound, "'none'")
        refusal({ $0.owner = AuthID(parsing: "tester@pbs!token")! }, .conflict, "belongs to tester@pbs")
        refusal({ $0.snapshot = backup.snapshot }, .invalidInput, "not later")
        refusal(
            { $0.snapshot = SnapshotName(parsing: "host/sample/2024-05-31T00:00:00Z")! }, .invalidInput, "not later")
        refusal(
            { $0.snapshot = SnapshotName(parsing: "host/benchmark/2024-06-02T00:00:00Z")! }, .invalidInput, "benchmark")
        let stage = try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store)
        #expect(stage.base == backup.snapshot)
        refusal(
            { $0.snapshot = SnapshotName(parsing: "host/sample/2024-06-03T00:00:00Z")! }, .conflict,
            "in use by the backup")
        stage.discard()
        try store.setOwner(AuthID(parsing: "tester@pbs!token")!, of: backup.snapshot.group, in: .root)
        try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store).discard()
    }

    @Test("has no base when the newest snapshot failed verification")
    func failedBase() throws {
        try backup.run(in: store)
        try store.updateManifest(of: backup.snapshot, in: .root) { $0.verifyState = .init(outcome: .failed, task: "x") }
        let stage = try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store)
        #expect(stage.base == nil)
        let failure = #expect(throws: BackupFailure.self) { try stage.openPreviousIndex(SampleBackup.stream) }
        #expect(failure?.kind == .invalidInput)
        stage.discard()
    }

    @Test("protects its base from removal and from a change of protection")
    func baseLock() throws {
        try backup.run(in: store)
        let stage = try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store)
        #expect(
            #expect(throws: BackupFailure.self) { try store.removeSnapshot(backup.snapshot, in: .root) }?.kind
                == .conflict)
        #expect(throws: BackupFailure.self) { try store.setProtected(true, backup.snapshot, in: .root) }
        try store.setNotes("allowed", of: backup.snapshot, in: .root)
        stage.discard()
        try store.removeSnapshot(backup.snapshot, in: .root)
        #expect(try FileSystem.list("\(test.path)/host") == [])
    }

    @Test("knows the chunks of an index fetched from the base, and reuses an image in place")
    func reuse() throws {
        let first = try backup.run(in: store)
        let next = SampleBackup("host/sample/2024-06-02T00:00:00Z")
        let stage = try next.begin(in: store)
        let image = try #require(first.file(SampleBackup.image))
        let checksum = try #require(image.checksum)
        for (size, wrong) in [(image.size, [UInt8](repeating: 0, count: 32)), (4 << 20, checksum.bytes)] {
            let failure = #expect(throws: BackupFailure.self) {
                try stage.createFixedIndex(SampleBackup.image, size: size, reusing: wrong)
            }
            #expect(failure?.kind == .invalidInput)
        }
        let writer = try stage.createFixedIndex(SampleBackup.image, size: image.size, reusing: checksum.bytes)
        let zeros = ChunkDigest(hashing: [UInt8](repeating: 0, count: 4 << 20))
        #expect(stage.chunks.contains(zeros) && stage.chunks.knownLength(of: zeros) == nil)
        #expect(try writer.close(chunkCount: 0, size: 0, checksum: checksum.bytes).checksum == checksum)
        let index = try stage.openPreviousIndex(SampleBackup.stream)
        #expect(index.count == 4)
        try index.forEach { #expect(stage.chunks.knownLength(of: $0.digest) == $0.length) }
        #expect(try stage.previousBlob(SampleBackup.configuration).count > 12)
        #expect(#expect(throws: BackupFailure.self) { try stage.previousBlob(.clientLog) }?.kind == .notFound)
        var manifest = Manifest(snapshot: next.snapshot)
        manifest.add(image)
        try stage.writeBlob(.manifest, try manifest.blob())
        try stage.publish(.init(count: 0, size: 0, compressedSize: 0, duplicates: 0)).close()
        let reader = try store.openReader(next.snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).isGood)
    }

    @Test("leaves nothing of a benchmark")
    func benchmark() throws {
        let snapshot = try #require(SnapshotName(parsing: "host/benchmark/2024-06-02T00:00:00Z"))
        let stage = try store.beginSnapshot(
            SnapshotRequest(snapshot: snapshot, owner: backup.owner, task: SampleBackup.task, isBenchmark: true))
        stage.discard()
        #expect(try FileSystem.list(test.path) == [".cairn", ".chunks", ".lock"])
    }

    @Test("hands a shared lock over to the verification of what it published")
    func handOver() throws {
        let stage = try backup.begin(in: store)
        try stage.writeBlob(.manifest, try backup.upload(to: stage, of: store).blob())
        let reader = try stage.publish(.init(count: 0, size: 0, compressedSize: 0, duplicates: 0))
        #expect(
            #expect(throws: BackupFailure.self) { try store.removeSnapshot(backup.snapshot, in: .root) }?.kind
                == .conflict)
        // The group is free already: the next backup may begin.
        try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store).discard()
        reader.close()
        try store.removeSnapshot(backup.snapshot, in: .root)
        stage.discard()
    }
}
