import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Testing

@Suite("A store whose process is killed", .serialized)
struct CrashTests {
    /// Runs a whole backup and kills the process at `step`.
    static func backUpAndDie(at path: String, step: String) throws {
        var options = TestStore.options
        options.syncLevel = .filesystem
        options.beforeStep = { if $0.rawValue == step { kill(getpid(), SIGKILL) } }
        let store = try Datastore.open(name: "test", at: path, options: options)
        try SampleBackup("host/sample/2024-06-02T00:00:00Z", seed: 2).run(in: store)
    }

    @Test(
        "shows no half snapshot, loses none that was published, and sweeps the rest",
        arguments: [
            "chunkRename", "indexClose", "indexRename", "blobWrite", "finishCheck", "manifestRewrite", "groupFolder",
            "ownerWrite", "syncFileSystem", "publishRename", "syncFolders", "published",
        ], [true, false])
    func killed(at step: String, isFirst: Bool) async throws {
        // The owner is written with a group's first snapshot only.
        if step == "ownerWrite", !isFirst { return }
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/store"
        try Datastore.create(name: "test", at: path, options: TestStore.options)
        if !isFirst {
            let store = try Datastore.open(name: "test", at: path, options: TestStore.options)
            try SampleBackup().run(in: store)
            try store.close()
        }
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, step = step as String] in
            try Self.backUpAndDie(at: path, step: step)
        }
        let store = try Datastore.open(name: "test", at: path, options: TestStore.options)
        let isPublished = step == "syncFolders" || step == "published"
        let names = try store.snapshots(in: .root).map { "\($0.name)" }
        #expect(
            names == (isFirst ? [] : ["host/sample/2024-06-01T00:00:00Z"])
                + (isPublished ? ["host/sample/2024-06-02T00:00:00Z"] : []))
        #expect(store.interruptedTasks == (isPublished ? [] : [SampleBackup.task]))
        #expect(try FileSystem.exists("\(path)/.cairn/sessions") == false)
        // A group that only the dead session knew belongs to nobody.
        if isFirst, !isPublished { #expect(try FileSystem.exists("\(path)/host/sample") == false) }
        for entry in try store.snapshots(in: .root) {
            let reader = try store.openReader(entry.name, in: .root, purpose: "a test")
            #expect(try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).errors == [])
        }
        // Chunks that were acknowledged are there: the next backup finds them.
        if !isPublished { try SampleBackup("host/sample/2024-06-02T00:00:00Z", seed: 2).run(in: store) }
    }

    @Test("finishes a removal that was interrupted", arguments: ["moveAside", "removeMovedAside"])
    func removal(_ step: String) async throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/store"
        try Datastore.create(name: "test", at: path, options: TestStore.options)
        var store = try Datastore.open(name: "test", at: path, options: TestStore.options)
        try SampleBackup().run(in: store)
        try store.close()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, step = step as String] in
            var options = TestStore.options
            options.beforeStep = { if $0.rawValue == step { kill(getpid(), SIGKILL) } }
            let store = try Datastore.open(name: "test", at: path, options: options)
            try store.removeSnapshot(SampleBackup().snapshot, in: .root)
        }
        store = try Datastore.open(name: "test", at: path, options: TestStore.options)
        #expect(try store.snapshots(in: .root).count == (step == "moveAside" ? 1 : 0))
        #expect(try FileSystem.exists("\(path)/.cairn/removed") == false)
        #expect(store.interruptedTasks == [])
    }

    @Test("is free for the next process at once")
    func lock() async throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/store"
        try Datastore.create(name: "test", at: path, options: TestStore.options)
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            _ = try Datastore.open(name: "test", at: path, options: TestStore.options)
            kill(getpid(), SIGKILL)
        }
        try Datastore.open(name: "test", at: path, options: TestStore.options).close()
    }
}

@Suite("A store between processes")
struct ProcessLockTests {
    @Test("is opened by one of them only")
    func opener() async throws {
        let test = try TestStore()
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            do { _ = try Datastore.open(name: "test", at: path, options: TestStore.options) } catch let error
                as BackupFailure
            {
                exit(error.kind == .conflict && error.summary.contains("another process") ? 3 : 4)
            }
        }
        try test.store.close()
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            _ = try Datastore.open(name: "test", at: path, options: TestStore.options)
            exit(3)
        }
    }

    @Test("keeps a PBS from collecting garbage, and is not opened while one does")
    func processLock() async throws {
        let test = try TestStore()
        // What a PBS does before it collects: an exclusive record lock on .lock.
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            let file = try OpenFile("\(path)/.lock", .readWrite)
            exit(try FileLock.taken(file, .exclusive, owner: .process) == nil ? 3 : 4)
        }
        try test.store.close()
        let lock = try FileLock(try OpenFile("\(test.path)/.lock", .readWrite), .exclusive, owner: .process)
        await #expect(processExitsWith: .exitCode(3)) { [path = test.path as String] in
            do { _ = try Datastore.open(name: "test", at: path, options: TestStore.options) } catch let error
                as BackupFailure
            {
                exit(error.kind == .conflict && error.summary.contains("another server") ? 3 : 4)
            }
        }
        lock.release()
        try Datastore.open(name: "test", at: test.path, options: TestStore.options).close()
    }
}
