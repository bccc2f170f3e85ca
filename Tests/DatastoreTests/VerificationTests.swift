import BackupFormats
import BlobCoding
import CairnTestSupport
import Datastore
import Foundation
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

    /// Puts another manifest, and another index for the stream, in place of those of the backup.
    func lie(cryptMode: CryptMode = .none, entries: [DynamicIndexEntry]? = nil) throws {
        let folder = "\(test.path)/\(backup.snapshot)"
        var manifest = Manifest(snapshot: backup.snapshot)
        for file in try store.manifest(of: backup.snapshot, in: .root).files where file.name == SampleBackup.stream {
            var (size, checksum) = (file.size, file.checksum)
            if let entries {
                let index = try DynamicIndex.encode(entries, uuid: .init(repeating: 0), creationTime: 0)
                try AtomicFile.replace("\(folder)/\(file.name)", with: index)
                checksum = try DynamicIndex(parsing: index).computedChecksum
                size = entries.last?.end ?? 0
            }
            manifest.add(.init(name: file.name, cryptMode: cryptMode, size: size, checksum: checksum))
        }
        try AtomicFile.replace("\(folder)/\(ArchiveName.manifest)", with: try manifest.blob())
    }

    @Test("reports an index that calls a plain chunk encrypted, and leaves the chunk to others")
    func lyingKind() throws {
        try lie(cryptMode: .encrypt)
        let outcome = try verify()
        #expect(outcome.errorCount == 4)
        #expect(try store.chunks.byteCount(of: ChunkDigest(hashing: backup.pieces[0])) != nil)
    }

    @Test("reports an index that gives a chunk another length, and leaves the chunk to others")
    func lyingLength() throws {
        let digest = ChunkDigest(hashing: backup.pieces[0])
        try lie(entries: [DynamicIndexEntry(end: 999, digest: digest)])
        let outcome = try verify()
        #expect(outcome.errors.count == 1 && outcome.errors[0].contains("its index says 999"))
        #expect(try store.chunks.byteCount(of: digest) != nil)
    }

    @Test("sets aside what is no chunk at all: nothing in it, too much, a folder, a link")
    func noChunk() throws {
        let digests = backup.pieces.map { ChunkDigest(hashing: $0) }
        try AtomicFile.replace(path(digests[0]), with: [])
        try AtomicFile.replace(path(digests[1]), with: [UInt8](repeating: 0, count: (16 << 20) + 45))
        for digest in digests[2...3] { try FileSystem.removeFile(path(digest)) }
        try FileSystem.makeFolder(path(digests[2]), mode: 0o755)
        try FileManager.default.createSymbolicLink(atPath: path(digests[3]), withDestinationPath: path(digests[0]))
        #expect(try verify().errorCount == 4)
        for digest in digests.prefix(4) { #expect(try FileSystem.exists(path(digest) + ".0.bad")) }
    }

    @Test("counts a bad chunk for every archive that has it, and reads it once")
    func badTwice() throws {
        let second = SampleBackup("host/sample/2024-06-02T00:00:00Z")
        try second.run(in: store)
        var blob = try store.chunks.read(ChunkDigest(hashing: backup.pieces[0]))
        blob[20] ^= 1
        try AtomicFile.replace(path(ChunkDigest(hashing: backup.pieces[0])), with: blob)
        let verifier = SnapshotVerifier(store, task: SampleBackup.task)
        for name in [second.snapshot, backup.snapshot] {
            let reader = try store.openReader(name, in: .root, purpose: "a test")
            #expect(try verifier.verify(reader).errorCount == 1)
            reader.close()
        }
    }

    @Test("leaves a file alone that has taken the place of the corrupt one")
    func replaced() throws {
        let digest = ChunkDigest(hashing: backup.pieces[0])
        let inode = try #require(try FileSystem.status(path(digest))?.inode)
        let blob = try store.chunks.read(digest)
        try AtomicFile.replace(path(digest), with: blob)
        #expect(try store.chunks.markBad(digest, file: inode) == nil)
        #expect(try store.chunks.read(digest) == blob)
    }

    @Test("keeps ten bad files of a digest, and overwrites the last")
    func badNames() throws {
        let digest = ChunkDigest(hashing: backup.pieces[0])
        for number in 0..<12 {
            try AtomicFile.replace(path(digest), with: [UInt8(number)])
            #expect(try store.chunks.markBad(digest) == "\(digest).\(min(number, 9)).bad")
        }
        #expect(try FileSystem.read(path(digest) + ".9.bad", limit: 1) == [11])
    }

    @Test("finds the same with any number of threads", arguments: [(1, 1), (1, 4), (3, 2)])
    func threads(_ readers: Int, _ verifiers: Int) throws {
        // Above two mebibytes, so that threads take turns; small pieces, so that parcels hold many.
        let many = SampleBackup("host/many/2024-06-01T00:00:00Z", seed: 7, pieces: 700)
        try many.run(in: store)
        var random = SeededRandom(seed: 5)
        for piece in many.pieces.shuffled(using: &random).prefix(40) {
            try AtomicFile.replace(
                path(ChunkDigest(hashing: piece)), with: try BlobEncoder().encode([1], compress: false))
        }
        let reader = try store.openReader(many.snapshot, in: .root, purpose: "a test")
        let effort = VerifyEffort(readThreads: readers, verifyThreads: verifiers)
        let outcome = try SnapshotVerifier(store, task: SampleBackup.task, effort: effort).verify(reader)
        #expect(outcome.errorCount == 40)
        #expect(outcome.checkedChunks == 662)
    }

    @Test("reads no faster than it is allowed")
    func rate() throws {
        let many = SampleBackup("host/many/2024-06-01T00:00:00Z", seed: 7, pieces: 3000)
        try many.run(in: store)
        let reader = try store.openReader(many.snapshot, in: .root, purpose: "a test")
        // A parcel of a mebibyte takes a second, and a part of one follows.
        let effort = VerifyEffort(readThreads: 2, verifyThreads: 2, bytesPerSecond: 2 << 20)
        let start = ContinuousClock.now
        #expect(try SnapshotVerifier(store, task: SampleBackup.task, effort: effort).verify(reader).isGood)
        let time = ContinuousClock.now - start
        #expect(time >= .milliseconds(900))
    }

    @Test("goes on behind an index whose table is broken in its middle")
    func brokenTable() throws {
        let digests = backup.pieces.map { ChunkDigest(hashing: $0) }
        try lie(entries: [DynamicIndexEntry(end: 1000, digest: digests[0])])
        // The checksum fits, and the second entry ends before the first.
        let folder = "\(test.path)/\(backup.snapshot)"
        var index = try FileSystem.read("\(folder)/root.pxar.didx", limit: 1 << 20)
        DynamicIndexEntry(end: 500, digest: digests[1]).append(to: &index)
        try AtomicFile.replace("\(folder)/root.pxar.didx", with: index)
        var manifest = Manifest(snapshot: backup.snapshot)
        manifest.add(
            .init(
                name: SampleBackup.stream, cryptMode: .none, size: 500,
                checksum: ChunkDigest(hashing: index.dropFirst(4096))))
        try AtomicFile.replace("\(folder)/\(ArchiveName.manifest)", with: try manifest.blob())
        let outcome = try verify()
        #expect(outcome.errorCount == 1)
        #expect(try store.manifest(of: backup.snapshot, in: .root).verifyState?.outcome == .failed)
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
