import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Synchronization
import Testing

/// Lines that a collection has told.
final class CollectionLog: Sendable {
    private let lines = Mutex<(log: [String], warnings: [String])>(([], []))
    var log: [String] { lines.withLock { $0.log } }
    var warnings: [String] { lines.withLock { $0.warnings } }

    func observer(isCancelled: @escaping @Sendable () -> Bool = { false }) -> CollectionObserver {
        CollectionObserver(
            isCancelled: isCancelled, log: { line in self.lines.withLock { $0.log.append(line) } },
            warn: { line in self.lines.withLock { $0.warnings.append(line) } })
    }
}

extension TestStore {
    static let collectionTask = "UPID:node:00000001:00000002:00000003:665A6900:garbage_collection:test:tester@pbs:"

    @discardableResult
    func collect(_ observer: CollectionObserver = CollectionObserver()) throws -> CollectionStatus {
        try store.reserveCollection().collect(task: Self.collectionTask, width: 4, observer: observer)
    }

    func chunkPath(_ digest: ChunkDigest) -> String { "\(path)/.chunks/\("\(digest)".prefix(4))/\(digest)" }

    func hasChunk(_ digest: ChunkDigest) throws -> Bool { try FileSystem.exists(chunkPath(digest)) }

    /// The digests of all chunk files.
    func chunkFiles() throws -> Set<String> {
        var names: Set<String> = []
        for prefix in try FileSystem.list("\(path)/.chunks") {
            for name in try FileSystem.list("\(path)/.chunks/\(prefix)") where name.utf8.count == 64 {
                names.insert(name)
            }
        }
        return names
    }
}

extension SampleBackup {
    static func at(_ time: String, seed: UInt64, in namespace: Namespace = .root) -> SampleBackup {
        var backup = SampleBackup("host/sample/2024-06-\(time)T00:00:00Z", seed: seed)
        backup.namespace = namespace
        return backup
    }

    /// Those of the stream; the image has two more, which all samples share.
    var digests: [ChunkDigest] { pieces.map { ChunkDigest(hashing: $0) } }
}

@Suite("Garbage collection")
struct CollectionTests {
    @Test("removes what nothing references in the same run, keeps the rest, and counts")
    func collects() throws {
        let test = try TestStore()
        let (kept, removed) = (SampleBackup.at("01", seed: 1), SampleBackup.at("02", seed: 2))
        try kept.run(in: test.store)
        try removed.run(in: test.store)
        try test.store.removeSnapshot(removed.snapshot, in: .root)
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        for digest in kept.digests { #expect(try test.hasChunk(digest)) }
        for digest in removed.digests { #expect(try !test.hasChunk(digest)) }
        #expect(status.task == TestStore.collectionTask)
        #expect(status.indexFileCount == 2)
        #expect(status.indexDataByteCount == 4000 + (4 << 20) + 100)
        #expect(status.diskChunkCount == 6)
        #expect(status.removedChunkCount == 4)
        #expect(status.removedByteCount > 4000)
        #expect(status.pendingChunkCount == 0)
        #expect(log.warnings == [])
        #expect(log.log.contains("marked 100% (2 of 2 index files)"))
        #expect(log.log.contains("processed 100% (10 chunks)"))
        #expect(log.log.contains("Removed chunks: 4"))
        // The next one has nothing to do, and the store is whole.
        #expect(try test.collect().removedChunkCount == 0)
        let reader = try test.store.openReader(kept.snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(test.store, task: SampleBackup.task).verify(reader).isGood)
        reader.close()
    }

    @Test("writes its figures as other software does, and reads theirs")
    func statusFile() throws {
        let test = try TestStore()
        #expect(try test.store.lastCollection() == nil)
        let theirs = try Data(contentsOf: Fixtures.url("pbs/outputs/gc-status.json"))
        try theirs.write(to: URL(filePath: "\(test.path)/.gc-status"))
        let read = try #require(try test.store.lastCollection())
        #expect(read.diskChunkCount == 47)
        #expect(read.pendingByteCount == 10709)
        #expect(read.json == (try JSONValue(parsing: Array(theirs))).objectValue)
        try SampleBackup().run(in: test.store)
        let status = try test.collect()
        let written = try JSONValue(parsing: Array(Data(contentsOf: URL(filePath: "\(test.path)/.gc-status"))))
        #expect(written.objectValue == status.json)
        #expect(written.objectValue?.members.map(\.name) == read.json.members.map(\.name))
        #expect(try test.store.lastCollection() == status)
    }

    @Test("looks into namespaces, unfinished snapshots and strange folders")
    func places() throws {
        let test = try TestStore()
        let inner = try Namespace(components: ["a", "b"])
        try test.store.createNamespace(Namespace(components: ["a"]))
        try test.store.createNamespace(inner)
        let nested = SampleBackup.at("01", seed: 1, in: inner)
        let unfinished = SampleBackup.at("02", seed: 2)
        let strange = SampleBackup.at("03", seed: 3)
        for backup in [nested, unfinished, strange] { try backup.run(in: test.store) }
        // A PBS that crashed leaves indexes without a manifest.
        try FileSystem.removeFile("\(test.path)/\(unfinished.snapshot)/index.json.blob")
        try FileSystem.makeFolder("\(test.path)/elsewhere", mode: 0o755)
        try FileSystem.rename("\(test.path)/\(strange.snapshot)", to: "\(test.path)/elsewhere/copy")
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        #expect(status.indexFileCount == 6)
        #expect(status.removedChunkCount == 0)
        #expect(log.warnings.count == 2)
        #expect(log.warnings.allSatisfy { $0.contains("elsewhere/copy/") && $0.contains("outside of all snapshots") })
        for backup in [nested, unfinished, strange] {
            for digest in backup.digests { #expect(try test.hasChunk(digest)) }
        }
    }

    @Test("follows the links that listings follow")
    func links() throws {
        let test = try TestStore()
        let backup = SampleBackup.at("01", seed: 1)
        try backup.run(in: test.store)
        let outside = try TemporaryFolder()
        try FileSystem.rename("\(test.path)/host/sample", to: "\(outside.path)/sample")
        try FileManager.default.createSymbolicLink(
            atPath: "\(test.path)/host/sample", withDestinationPath: "\(outside.path)/sample")
        #expect(try test.store.snapshots(in: .root).count == 1)
        #expect(try test.collect().removedChunkCount == 0)
        #expect(try test.collect().indexFileCount == 2)
    }

    @Test("keeps what a running session relies on, whatever it has done so far")
    func sessions() throws {
        let test = try TestStore()
        let base = SampleBackup.at("01", seed: 1)
        try base.run(in: test.store)
        let forgotten = SampleBackup.at("02", seed: 2)
        try forgotten.run(in: test.store)
        try test.store.removeSnapshot(forgotten.snapshot, in: .root)
        let next = SampleBackup.at("03", seed: 2)
        let stage = try next.begin(in: test.store)
        // Uploaded and in no index; a duplicate of garbage; known from the base.
        let fresh = try test.store.insert(Array("only uploaded".utf8), stage)
        _ = try stage.openPreviousIndex(SampleBackup.stream)
        let duplicate = try test.store.insert(forgotten.pieces[0], stage)
        let status = try test.collect()
        #expect(status.removedChunkCount == 3)
        #expect(try test.hasChunk(fresh))
        #expect(try test.hasChunk(duplicate))
        for digest in base.digests { #expect(try test.hasChunk(digest)) }
        stage.discard()
        // The duplicate and the fresh one were held by the session alone.
        #expect(try test.collect().removedChunkCount == 2)
        #expect(try !test.hasChunk(fresh))
    }

    @Test("keeps the chunks of a snapshot that is published behind its walk")
    func publishedMeanwhile() throws {
        let fault = StepFault()
        let test = try TestStore { $0.beforeStep = fault.hook }
        try SampleBackup.at("01", seed: 1).run(in: test.store)
        let late = SampleBackup.at("02", seed: 2)
        let stage = try late.begin(in: test.store)
        let manifest = try late.upload(to: stage, of: test.store)
        try stage.writeBlob(.manifest, try manifest.blob())
        fault.arm(.collectFolder) {
            try stage.publish(.init(count: 6, size: 0, compressedSize: 0, duplicates: 0)).close()
        }
        #expect(try test.collect().removedChunkCount == 0)
        for digest in late.digests { #expect(try test.hasChunk(digest)) }
        #expect(try test.collect().diskChunkCount == 10)
    }

    @Test("lets a session bring back a chunk while it is swept", arguments: 0..<8)
    func race(_ round: Int) throws {
        let test = try TestStore()
        let gone = SampleBackup("host/gone/2024-06-01T00:00:00Z", seed: 7, pieces: 40)
        try gone.run(in: test.store)
        try test.store.removeSnapshot(gone.snapshot, in: .root)
        let next = SampleBackup("host/gone/2024-06-02T00:00:00Z", seed: 7, pieces: 40)
        let failure = Mutex<(any Error)?>(nil)
        try Threads.forEach(count: 2, width: 2) { part in
            do {
                if part == 0 { try test.collect() } else { try next.run(in: test.store) }
            } catch { failure.withLock { $0 = error } }
        }
        #expect(failure.withLock { $0 } == nil)
        let reader = try test.store.openReader(next.snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(test.store, task: SampleBackup.task).verify(reader).errors == [])
        reader.close()
        #expect(try test.collect().diskChunkCount == 42)
    }

    @Test("runs once at a time, not on a store that can only be read, and not on a closed one")
    func refusals() throws {
        let test = try TestStore()
        let lease = try test.store.reserveCollection()
        let second = #expect(throws: BackupFailure.self) { try test.store.reserveCollection() }
        #expect(second?.kind == .conflict)
        #expect(throws: BackupFailure.self) { try test.store.close() }
        lease.release()
        try test.store.reserveCollection().release()
        try test.store.close()
        #expect(throws: BackupFailure.self) { try test.store.reserveCollection() }
        var options = TestStore.options
        options.isReadOnly = true
        let reading = try Datastore.open(name: "test", at: test.path, options: options)
        let refused = #expect(throws: BackupFailure.self) { try reading.reserveCollection() }
        #expect(refused?.kind == .conflict)
        #expect(try reading.lastCollection() == nil)
    }

    @Test("does not run while another server uses the store, and keeps others out while it runs")
    func otherServer() async throws {
        let test = try TestStore()
        let lease = try test.store.reserveCollection()
        // A PBS takes a shared record lock for each backup.
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            let file = try OpenFile("\(path)/.lock", .readWrite)
            exit(try FileLock.taken(file, .shared, owner: .process) == nil ? 3 : 4)
        }
        lease.release()
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            let file = try OpenFile("\(path)/.lock", .readWrite)
            exit(try FileLock.taken(file, .shared, owner: .process) == nil ? 4 : 3)
        }
    }

    @Test("keeps marks on the disk beyond its memory")
    func spills() throws {
        let test = try TestStore { $0.collectionMemory = 0 }
        var kept: [SampleBackup] = []
        for day in 1...6 {
            let backup = SampleBackup("host/sample/2024-06-0\(day)T00:00:00Z", seed: UInt64(day), pieces: 50)
            try backup.run(in: test.store)
            if day % 2 == 0 { try test.store.removeSnapshot(backup.snapshot, in: .root) } else { kept.append(backup) }
        }
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        #expect(log.log.contains { $0.contains("of marks to the disk") })
        #expect(status.removedChunkCount == 150)
        #expect(status.diskChunkCount == 152)
        #expect(log.warnings == [])
        for backup in kept { for digest in backup.digests { #expect(try test.hasChunk(digest)) } }
        #expect(try FileSystem.exists("\(test.path)/.cairn/collection") == false)
    }

    @Test("collects a store that a PBS wrote")
    func fixture() throws {
        let folder = try TemporaryFolder()
        try FixtureStore.copy(to: URL(filePath: "\(folder.path)/store"))
        let store = try Datastore.open(name: "fix", at: "\(folder.path)/store", options: TestStore.options)
        let file = try Data(contentsOf: Fixtures.url("pbs/outputs/gc-status.json"))
        let theirs = try #require(CollectionStatus(try JSONValue(parsing: Array(file))))
        let log = CollectionLog()
        let status = try store.reserveCollection().collect(
            task: TestStore.collectionTask, width: 4, observer: log.observer())
        #expect(status.indexFileCount == theirs.indexFileCount)
        #expect(status.indexDataByteCount == theirs.indexDataByteCount)
        #expect(status.diskChunkCount == theirs.diskChunkCount)
        #expect(status.diskByteCount == theirs.diskByteCount)
        // What it held back because of its clock.
        #expect(status.removedChunkCount == theirs.pendingChunkCount)
        #expect(log.warnings == [])
    }
}
