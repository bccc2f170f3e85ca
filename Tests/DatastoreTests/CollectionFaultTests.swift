import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Synchronization
import Testing

@Suite("Garbage collection in trouble")
struct CollectionFaultTests {
    /// A store with garbage, and a snapshot that must stay.
    static func store(_ change: (inout StoreOptions) -> Void = { _ in }) throws -> (
        test: TestStore, kept: SampleBackup, garbage: SampleBackup
    ) {
        let test = try TestStore(change)
        let (kept, garbage) = (SampleBackup.at("01", seed: 1), SampleBackup.at("02", seed: 2))
        try kept.run(in: test.store)
        try garbage.run(in: test.store)
        try test.store.removeSnapshot(garbage.snapshot, in: .root)
        return (test, kept, garbage)
    }

    enum Damage: String, CaseIterable { case magic, size, cut, entry, longer, empty }

    @Test(
        "removes nothing when an index is damaged, and names it", arguments: Damage.allCases,
        ["disk.img.fidx", "root.pxar.didx"])
    func damaged(_ damage: Damage, _ name: String) throws {
        let (test, kept, _) = try Self.store()
        let path = "\(test.path)/\(kept.snapshot)/\(name)"
        let file = try OpenFile(path, .readWrite)
        let size = try file.byteCount()
        switch damage {
        case .magic: try file.write([0], at: 0)
        case .size: try file.write([UInt8](repeating: 0xff, count: 16), at: name.hasSuffix("fidx") ? 64 : 4096)
        case .cut: try file.truncate(to: size - 1)
        case .entry: try file.write([0x5a, 0x5a], at: size - 2)
        case .longer: try file.truncate(to: size + 40)
        case .empty: try file.truncate(to: 0)
        }
        let before = try test.chunkFiles()
        let failure = #expect(throws: BackupFailure.self) { try test.collect() }
        #expect(failure?.kind == .corruptData)
        #expect("\(failure.map { "\($0)" } ?? "")".contains(path))
        #expect(try test.chunkFiles() == before)
        #expect(try test.store.lastCollection() == nil)
        // Once the snapshot is gone, all is well again.
        try test.store.removeSnapshot(kept.snapshot, in: .root)
        try test.collect()
        #expect(try test.chunkFiles() == [])
    }

    @Test("tells which chunks are missing, and keeps those that were set aside as long as they are wanted")
    func missing() throws {
        let (test, kept, garbage) = try Self.store()
        let gone = kept.digests[0]
        let (bad, healed) = (kept.digests[1], kept.digests[2])
        try FileSystem.removeFile(test.chunkPath(gone))
        try test.store.chunks.markBad(bad)
        // Of one that was uploaded again, and of one that nobody wants.
        try Data("old".utf8).write(to: URL(filePath: "\(test.chunkPath(healed)).0.bad"))
        try test.store.chunks.markBad(garbage.digests[0])
        let log = CollectionLog()
        var status = try test.collect(log.observer())
        #expect(status.removedChunkCount == 3)
        #expect(status.removedBadCount == 2)
        #expect(status.stillBadCount == 1)
        #expect(try FileSystem.exists("\(test.chunkPath(bad)).0.bad"))
        for digest in [gone, bad] {
            #expect(
                log.warnings.contains { $0.contains("\(digest)") && $0.contains("\(kept.snapshot)/root.pxar.didx") })
        }
        #expect(log.warnings.contains { $0.hasPrefix("2 referenced chunks do not exist") })
        #expect(log.warnings.count == 3)
        try test.store.removeSnapshot(kept.snapshot, in: .root)
        status = try test.collect()
        #expect(status.removedBadCount == 1)
        #expect(status.stillBadCount == 0)
    }

    @Test("leaves foreign files alone, and cleans up after interrupted writes")
    func foreign() throws {
        let clock = ManualClock(seconds: 2_000_000_000)
        let (test, kept, garbage) = try Self.store { $0.time = clock.source }
        let digest = kept.digests[0]
        let folder = "\(test.path)/.chunks/\("\(digest)".prefix(4))"
        func make(_ path: String, age: Int64) throws {
            try Data("x".utf8).write(to: URL(filePath: path))
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: Double(clock.seconds - age))], ofItemAtPath: path)
        }
        let strangers = [
            "\(folder)/README", "\(folder)/\("\(digest)".dropLast())", "\(folder)/\(digest).old",
            "\(folder)/\("\(digest)".uppercased())", "\(folder)/\(digest).10.bad", "\(test.path)/.chunks/lost",
            "\(test.path)/.chunks/ABCD", "\(folder)/\(garbage.digests[0])x",
        ]
        for path in strangers { try make(path, age: 1_000_000) }
        // A chunk in the folder of another prefix, and a folder named like a chunk.
        let misplaced = "\(folder)/\(ChunkDigest(hashing: Array("other".utf8)))"
        try make(misplaced, age: 0)
        let named = "\(folder)/\("\(digest)".prefix(4))\(String(repeating: "0", count: 60))"
        try FileSystem.makeFolder(named, mode: 0o755)
        let (young, old, future) = (
            "\(folder)/\(digest).tmp_abcdef", "\(folder)/\(digest).tmp_ghijkl", "\(folder)/\(digest).tmp_mnopqr"
        )
        try make(young, age: 3600)
        try make(old, age: 100_000)
        try make(future, age: -100_000)
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        #expect(status.removedChunkCount == 4)
        for path in strangers + [misplaced, named, young] { #expect(try FileSystem.exists(path)) }
        for path in [old, future] { #expect(try !FileSystem.exists(path)) }
        #expect(log.log.contains("removed 2 files that interrupted writes had left"))
        #expect(log.log.contains("left 10 files alone that are no chunks"))
    }

    @Test("does not care what the clock or the access times say")
    func clocks() throws {
        let clock = ManualClock(seconds: 1_717_200_000)
        let (test, kept, garbage) = try Self.store { $0.time = clock.source }
        for (index, digest) in (kept.digests + garbage.digests).enumerated() {
            let time = Date(timeIntervalSince1970: index % 2 == 0 ? 0 : 4_000_000_000)
            try FileManager.default.setAttributes([.modificationDate: time], ofItemAtPath: test.chunkPath(digest))
        }
        clock.advance(seconds: -1_000_000_000)
        let stage = try SampleBackup("host/other/2024-06-09T00:00:00Z").begin(in: test.store)
        let pinned = try test.store.insert(garbage.pieces[3], stage)
        clock.advance(seconds: 3_000_000_000)
        #expect(try test.collect().removedChunkCount == 3)
        #expect(try test.hasChunk(pinned))
        for digest in kept.digests { #expect(try test.hasChunk(digest)) }
        stage.discard()
        #expect(try test.collect().removedChunkCount == 1)
    }

    @Test(
        "removes nothing when a folder of the tree cannot be read, and passes over one with chunks",
        .enabled(if: !ProcessInformation.isRoot, "needs another user than root"))
    func unreadable() throws {
        let (test, kept, garbage) = try Self.store()
        let group = "\(test.path)/host/sample"
        try FileSystem.setMode(group, 0)
        let before = try test.chunkFiles()
        let failure = #expect(throws: BackupFailure.self) { try test.collect() }
        try FileSystem.setMode(group, 0o755)
        #expect("\(failure.map { "\($0)" } ?? "")".contains(group))
        #expect(try test.chunkFiles() == before)
        let chunks = "\(test.path)/.chunks/\("\(garbage.digests[0])".prefix(4))"
        try FileSystem.setMode(chunks, 0)
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        try FileSystem.setMode(chunks, 0o750)
        #expect(status.removedChunkCount == 3)
        #expect(log.warnings.contains { $0.contains(chunks) })
        for digest in kept.digests { #expect(try test.hasChunk(digest)) }
    }

    @Test("needs no room on the disk", arguments: [StoreStep.collectStatus, .collectSpill])
    func fullDisk(_ step: StoreStep) throws {
        let (test, kept, garbage) = try Self.store {
            $0.collectionMemory = 0
            // Linux: no space left on device.
            $0.beforeStep = { if $0 == step { throw SystemError("write", "somewhere", code: 28) } }
        }
        let log = CollectionLog()
        let status = try test.collect(log.observer())
        #expect(status.removedChunkCount == 4)
        #expect(log.warnings.count == 1)
        for digest in garbage.digests { #expect(try !test.hasChunk(digest)) }
        for digest in kept.digests { #expect(try test.hasChunk(digest)) }
        #expect(try test.store.lastCollection() == status)
    }

    @Test("can be stopped anywhere and begun again")
    func stopped() throws {
        // Ever later, until it is not stopped any more.
        var limit = 0
        while true {
            let (test, kept, garbage) = try Self.store()
            let asked = Atomic(0)
            let stopAt = limit
            do {
                let observer = CollectionObserver(isCancelled: {
                    asked.wrappingAdd(1, ordering: .relaxed).newValue > stopAt
                })
                try test.collect(observer)
                #expect(stopAt > 5)
                return
            } catch let failure as BackupFailure {
                #expect(failure.kind == .cancelled)
            }
            #expect(try test.store.lastCollection() == nil)
            for digest in kept.digests { #expect(try test.hasChunk(digest)) }
            try test.collect()
            #expect(try test.chunkFiles().isDisjoint(with: garbage.digests.map { "\($0)" }))
            #expect(try test.chunkFiles().count == 6)
            limit += 1
        }
    }

    @Test(
        "leaves a sound store when the process is killed",
        arguments: ["collectWalk", "collectIndex", "collectSpill", "collectFolder", "collectRemove", "collectStatus"])
    func killed(at step: String) async throws {
        let (test, kept, _) = try Self.store()
        try test.store.close()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = test.path as String, step = step as String] in
            var options = TestStore.options
            options.collectionMemory = 0
            options.beforeStep = { if $0.rawValue == step { kill(getpid(), SIGKILL) } }
            let store = try Datastore.open(name: "test", at: path, options: options)
            _ = try store.reserveCollection().collect(task: TestStore.collectionTask)
        }
        let store = try Datastore.open(name: "test", at: test.path, options: TestStore.options)
        let reader = try store.openReader(kept.snapshot, in: .root, purpose: "a test")
        #expect(try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).isGood)
        reader.close()
        _ = try store.reserveCollection().collect(task: TestStore.collectionTask)
        #expect(try test.chunkFiles().count == 6)
        #expect(try FileSystem.list("\(test.path)/.cairn").contains("collection") == false)
    }
}
