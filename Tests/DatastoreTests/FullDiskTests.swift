import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Testing

@Suite("A store on a full file system", .enabled(if: ProcessInformation.isRoot, "needs root"))
struct FullDiskTests {
    /// A file system of 24 MiB, and nothing else.
    final class SmallDisk {
        let folder: TemporaryFolder

        init() throws {
            folder = try TemporaryFolder()
            try Self.run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder.path)
        }

        deinit { try? Self.run("umount", folder.path) }

        static func run(_ arguments: String...) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = arguments
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else { throw CocoaError(.fileWriteUnknown) }
        }
    }

    @Test("fails a chunk and leaves nothing of it, keeps what is finished, and goes on when there is room")
    func fills() throws {
        let disk: SmallDisk
        do { disk = try SmallDisk() } catch { return }
        let path = "\(disk.folder.path)/store"
        try Datastore.create(name: "test", at: path, options: TestStore.options)
        let store = try Datastore.open(name: "test", at: path, options: TestStore.options)
        try SampleBackup().run(in: store)
        let stage = try SampleBackup("host/sample/2024-06-02T00:00:00Z").begin(in: store)
        var random = SeededRandom(seed: 3)
        var stored: [ChunkDigest] = []
        var failure: BackupFailure?
        while failure == nil {
            do { stored.append(try store.insert(random.bytes(4 << 20), stage)) } catch let error as BackupFailure {
                failure = error
            }
        }
        #expect(failure?.kind == .storageFull)
        #expect(stored.count >= 3)
        for digest in stored { _ = try store.chunks.read(digest) }
        let files = try FileManager.default.subpathsOfDirectory(atPath: path)
        #expect(!files.contains { $0.contains("tmp_") })
        stage.discard()
        let reader = try store.openReader(SampleBackup().snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).isGood)
        reader.close()
        for digest in stored { try FileSystem.removeFile("\(path)/.chunks/\("\(digest)".prefix(4))/\(digest)") }
        try SampleBackup("host/sample/2024-06-02T00:00:00Z", seed: 9).run(in: store)
        try store.close()
    }

    @Test("gets room back by collecting garbage, though nothing can be written any more")
    func collected() throws {
        let disk: SmallDisk
        do { disk = try SmallDisk() } catch { return }
        let path = "\(disk.folder.path)/store"
        var options = TestStore.options
        // Marks would go to the disk at once.
        options.collectionMemory = 0
        try Datastore.create(name: "test", at: path, options: options)
        let store = try Datastore.open(name: "test", at: path, options: options)
        let (kept, garbage) = (SampleBackup.at("01", seed: 1), SampleBackup.at("02", seed: 2))
        try kept.run(in: store)
        try garbage.run(in: store)
        try store.removeSnapshot(garbage.snapshot, in: .root)
        let filler = try OpenFile("\(disk.folder.path)/filler", .makeNew(mode: 0o600))
        var (offset, piece) = (0, 1 << 20)
        while piece > 0 {
            do {
                try filler.write([UInt8](repeating: 1, count: piece), at: offset)
                offset += piece
            } catch { piece /= 2 }
        }
        let log = CollectionLog()
        let status = try store.reserveCollection().collect(
            task: TestStore.collectionTask, width: 4, observer: log.observer())
        #expect(status.removedChunkCount == 4)
        #expect(log.warnings.contains { $0.contains("stay in memory") })
        let reader = try store.openReader(kept.snapshot, in: .root, purpose: "a test")
        #expect(
            try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).errors.filter { $0.contains("chunk") }
                == [])
        reader.close()
        #expect(try store.usage().available > 0)
        try store.close()
    }

    @Test("begins no session below the room that is kept")
    func kept() throws {
        let test = try TestStore { $0.minimumFreeByteCount = .max }
        let failure = #expect(throws: BackupFailure.self) { try SampleBackup().begin(in: test.store) }
        #expect(failure?.kind == .storageFull)
    }

    @Test("refuses a folder inside that lies on another file system")
    func mountInside() throws {
        let disk: SmallDisk
        do { disk = try SmallDisk() } catch { return }
        let test = try TestStore()
        try test.store.close()
        try FileManager.default.createSymbolicLink(atPath: "\(test.path)/vm", withDestinationPath: disk.folder.path)
        let failure = #expect(throws: BackupFailure.self) {
            try Datastore.open(name: "test", at: test.path, options: TestStore.options)
        }
        #expect(failure?.kind == .unsupported)
    }
}
