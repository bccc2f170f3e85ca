import BackupFormats
import BlobCoding
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("Verifying a snapshot")
struct VerificationTests {
    let test: TestStore
    let backup = SampleBackup()
    var store: Datastore { test.store }

    init() throws {
        test = try TestStore()
        try backup.run(in: test.store)
    }

    func verify() throws -> VerifyOutcome {
        let reader = try store.openReader(backup.snapshot, in: .root, purpose: "a test")
        return try SnapshotVerifier(store, task: SampleBackup.task).verify(reader)
    }

    func path(_ digest: ChunkDigest) -> String { "\(test.path)/.chunks/\("\(digest)".prefix(4))/\(digest)" }

    @Test("reads each chunk once")
    func once() throws {
        let verifier = SnapshotVerifier(store, task: SampleBackup.task)
        let reader = try store.openReader(backup.snapshot, in: .root, purpose: "a test")
        #expect(try verifier.verify(reader).checkedChunks == 6)
        #expect(try verifier.verify(reader).checkedChunks == 0)
    }

    @Test("finds a flipped byte, other content and a missing chunk; sets the bad ones aside; says so in the manifest")
    func damage() throws {
        let digests = backup.pieces.map { ChunkDigest(hashing: $0) }
        var blob = try store.chunks.read(digests[0])
        blob[20] ^= 1
        try AtomicFile.replace(path(digests[0]), with: blob)
        try AtomicFile.replace(path(digests[1]), with: try BlobEncoder().encode([1, 2, 3], compress: false))
        try FileSystem.removeFile(path(digests[2]))
        let outcome = try verify()
        #expect(outcome.errors.count == 3)
        for digest in digests.prefix(3) { #expect(outcome.errors.contains { $0.contains("\(digest)") }) }
        #expect(try FileSystem.exists(path(digests[0]) + ".0.bad"))
        #expect(try FileSystem.exists(path(digests[1]) + ".0.bad"))
        #expect(try store.manifest(of: backup.snapshot, in: .root).verifyState?.outcome == .failed)
        // The next backup does not build on it, and repairs it.
        let next = SampleBackup("host/sample/2024-06-02T00:00:00Z")
        let stage = try next.begin(in: store)
        #expect(stage.base == nil)
        stage.discard()
        try next.run(in: store)
        #expect(try verify().isGood)
    }

    @Test("takes an encrypted chunk in a plain index for damage")
    func kind() throws {
        let digest = ChunkDigest(hashing: backup.pieces[0])
        try AtomicFile.replace(path(digest), with: try ChunkStoreTests.encrypted(100))
        #expect(try verify().errors.count == 1)
        #expect(try FileSystem.exists(path(digest) + ".0.bad"))
    }

    @Test("finds files that the manifest does not describe")
    func files() throws {
        let folder = "\(test.path)/\(backup.snapshot)"
        let index = try FileSystem.read("\(folder)/root.pxar.didx", limit: 1 << 20)
        try AtomicFile.replace("\(folder)/root.pxar.didx", with: Array(index.dropLast(40)))
        var blob = try FileSystem.read("\(folder)/vm.conf.blob", limit: 1 << 20)
        blob[blob.count - 1] ^= 1
        try AtomicFile.replace("\(folder)/vm.conf.blob", with: blob)
        try FileSystem.removeFile("\(folder)/disk.img.fidx")
        #expect(try verify().errors.count == 3)
    }

    @Test("stops when asked, and writes no result then")
    func cancelled() throws {
        let reader = try store.openReader(backup.snapshot, in: .root, purpose: "a test")
        let failure = #expect(throws: BackupFailure.self) {
            try SnapshotVerifier(store, task: SampleBackup.task, isCancelled: { true }).verify(reader)
        }
        #expect(failure?.kind == .cancelled)
        #expect(try store.manifest(of: backup.snapshot, in: .root).verifyState == nil)
    }
}
