import BackupFormats
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("Finishing a snapshot")
struct FinishTests {
    static let statistics = Manifest.UploadStatistics(count: 1, size: 2, compressedSize: 3, duplicates: 4)

    let fault = StepFault()
    let test: TestStore
    let backup = SampleBackup()
    let stage: SnapshotStage
    var store: Datastore { test.store }

    init() throws {
        let fault = fault
        test = try TestStore {
            $0.beforeStep = fault.hook
            $0.syncLevel = .filesystem
        }
        stage = try backup.begin(in: test.store)
    }

    /// Expects that publication is refused, and that it works once `repair` has been done.
    func expectRefusal(_ kind: BackupFailure.Kind, _ text: String, repair: () throws -> Void) throws {
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.kind == kind)
        #expect(failure?.summary.contains(text) == true, "\(String(describing: failure))")
        #expect(try FileSystem.list(test.path).contains("host") == false)
        try repair()
        try stage.publish(Self.statistics).close()
        #expect(try store.manifest(of: backup.snapshot, in: .root).uploadStatistics == Self.statistics)
    }

    @Test("needs a file, and a manifest")
    func needsManifest() throws {
        #expect(
            #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }?.summary.contains("no files")
                == true)
        let manifest = try backup.upload(to: stage, of: store)
        try expectRefusal(.invalidInput, "index.json.blob, was not uploaded") {
            try stage.writeBlob(.manifest, try manifest.blob())
        }
    }

    @Test("needs a manifest that can be read")
    func brokenManifest() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, [1, 2, 3])
        try expectRefusal(.invalidInput, "cannot be read") { try stage.writeBlob(.manifest, try manifest.blob()) }
    }

    @Test("needs each file that the manifest lists, with its size and checksum")
    func files() throws {
        let manifest = try backup.upload(to: stage, of: store)
        for name in [SampleBackup.stream, SampleBackup.image, SampleBackup.configuration] {
            let file = try #require(manifest.file(name))
            var wrong = manifest
            wrong.add(.init(name: name, cryptMode: .none, size: file.size + 1, checksum: file.checksum))
            try stage.writeBlob(.manifest, try wrong.blob())
            #expect(
                #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }?.summary.contains("bytes")
                    == true)
            wrong.add(.init(name: name, cryptMode: .none, size: file.size, checksum: ChunkDigest(hashing: [1])))
            try stage.writeBlob(.manifest, try wrong.blob())
            #expect(
                #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }?.summary.contains("checksum")
                    == true)
        }
        var more = manifest
        more.add(.init(name: ArchiveName("more.blob")!, cryptMode: .none, size: 1, checksum: nil))
        try stage.writeBlob(.manifest, try more.blob())
        try expectRefusal(.invalidInput, "more.blob, which was not uploaded") {
            try stage.writeBlob(.manifest, try manifest.blob())
        }
    }

    @Test("tolerates a blob without a checksum, and says so")
    func emptyChecksum() throws {
        var manifest = try backup.upload(to: stage, of: store)
        let file = try #require(manifest.file(SampleBackup.configuration))
        manifest.add(.init(name: file.name, cryptMode: .none, size: file.size, checksum: nil))
        try stage.writeBlob(.manifest, try manifest.blob())
        var log: [String] = []
        try stage.publish(Self.statistics) { log.append($0) }.close()
        #expect(log.contains { $0.contains("vm.conf.blob") })
    }

    @Test("waits for open indexes, and is impossible after a failed close")
    func writers() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        let open = try stage.createDynamicIndex(ArchiveName("more.pxar.didx")!)
        #expect(
            #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }?.summary.contains(
                "more.pxar.didx is still open") == true)
        #expect(throws: BackupFailure.self) { try open.close(chunkCount: 1, size: 1, checksum: []) }
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.summary.contains("more.pxar.didx could not be closed") == true)
        #expect(throws: BackupFailure.self) { try open.append(.zero, length: 1, at: 0) }
        stage.discard()
    }

    @Test("fails for a missing chunk of the base, with digest and archive named, and marks the base")
    func missingChunk() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        try stage.publish(Self.statistics).close()

        let next = SampleBackup("host/sample/2024-06-02T00:00:00Z")
        let stage = try next.begin(in: store)
        let index = try stage.openPreviousIndex(SampleBackup.stream)
        let writer = try stage.createDynamicIndex(SampleBackup.stream)
        var last: IndexEntry?
        try index.forEach { entry in
            try writer.append(entry.digest, length: entry.length, at: entry.offset)
            last = entry
        }
        let digest = try #require(last).digest
        _ = try writer.close(
            chunkCount: index.count, size: index.logicalSize, checksum: try index.computeChecksum().bytes)
        var second = Manifest(snapshot: next.snapshot)
        second.add(try #require(manifest.file(SampleBackup.stream)))
        try stage.writeBlob(.manifest, try second.blob())
        try store.chunks.markBad(digest)
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.kind == .corruptData)
        #expect(failure?.summary.contains("\(digest) of root.pxar.didx") == true)
        #expect(try store.manifest(of: backup.snapshot, in: .root).verifyState?.outcome == .failed)
        // The client may send the chunk after all.
        try store.insert(try #require(next.pieces.last), stage)
        try stage.publish(Self.statistics).close()
    }

    @Test(
        "leaves the session active when a step fails, and nothing in the tree",
        arguments: [
            StoreStep.finishCheck, .manifestRewrite, .groupFolder, .ownerWrite, .syncFileSystem, .publishRename,
        ])
    func faults(_ step: StoreStep) throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        fault.arm(step, SystemError("write", "x", code: 28))
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.kind == .storageFull)
        #expect(try FileSystem.exists("\(test.path)/host/sample") == false)
        #expect(try store.snapshots(in: .root).first?.runningTask == SampleBackup.task)
        try stage.publish(Self.statistics).close()
        #expect(try store.snapshots(in: .root).first?.isFinished == true)
    }

    @Test("succeeds at the rename: what fails later takes nothing back")
    func afterTheRename() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        fault.arm(.syncFolders)
        #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        stage.discard()
        #expect(try store.snapshot(backup.snapshot, in: .root).isFinished)
        #expect(store.sessions.activeCount == 0)
        #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
    }

    @Test("is stopped by a discard before the rename")
    func discardMeanwhile() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        fault.arm(.publishRename) { [stage] in stage.discard() }
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.kind == .cancelled)
        #expect(try store.snapshots(in: .root).isEmpty)
        #expect(try FileSystem.list("\(test.path)/.cairn/sessions") == [])
        #expect(try FileSystem.list("\(test.path)/host") == [])
        #expect(store.sessions.activeCount == 0)
    }

    @Test("refuses a target that appeared meanwhile, even an empty folder")
    func race() throws {
        let manifest = try backup.upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        try FileSystem.makeFolders("\(test.path)/\(backup.snapshot)", mode: 0o755)
        let failure = #expect(throws: BackupFailure.self) { try stage.publish(Self.statistics) }
        #expect(failure?.kind == .conflict)
        #expect(try FileSystem.list("\(test.path)/\(backup.snapshot)") == [])
    }
}
