import BackupFormats
import BlobCoding
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("The chunks of a store")
struct ChunkStoreTests {
    let test: TestStore
    let stage: SnapshotStage
    var chunks: ChunkStore { test.store.chunks }

    init() throws {
        test = try TestStore()
        stage = try SampleBackup().begin(in: test.store)
    }

    static func blob(_ content: [UInt8], compress: Bool = false) throws -> [UInt8] {
        try BlobEncoder().encode(content, compress: compress)
    }

    /// Bytes with an encrypted magic and a right CRC; nobody could decrypt them.
    static func encrypted(_ count: Int, compressed: Bool = false) throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(
            compressed
                ? DataBlobHeader.Encoding.compressedThenEncrypted.rawValue : DataBlobHeader.Encoding.encrypted.rawValue)
        bytes += [UInt8](repeating: 9, count: 36 + count)
        return try withChecksum(bytes)
    }

    func path(_ digest: ChunkDigest) -> String {
        "\(test.path)/.chunks/\("\(digest)".prefix(4))/\(digest)"
    }

    func insert(_ blob: [UInt8], _ digest: ChunkDigest) throws -> ChunkInsertion {
        try chunks.insert(blob, as: digest, length: 100, pinning: stage.chunks)
    }

    @Test("lie below their prefix with the modes of the original")
    func shape() throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        #expect(try insert(try Self.blob(content), digest) == ChunkInsertion(isDuplicate: false, storedByteCount: 112))
        #expect(try FileSystem.status(path(digest))?.mode == 0o644)
        #expect(try FileSystem.status("\(test.path)/.chunks/\("\(digest)".prefix(4))")?.mode == 0o750)
        #expect(try FileSystem.list("\(test.path)/.chunks/\("\(digest)".prefix(4))") == ["\(digest)"])
        #expect(try chunks.read(digest) == Self.blob(content))
        #expect(try chunks.byteCount(of: digest) == 112)
    }

    @Test("are pinned and known once they are stored, as new or as duplicates")
    func pins() throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        #expect(stage.chunks.knownLength(of: digest) == nil)
        _ = try insert(try Self.blob(content), digest)
        #expect(stage.chunks.knownLength(of: digest) == 100)
        #expect(chunks.pins.isPinned(digest))
        #expect(try insert(try Self.blob(content), digest).isDuplicate)
        stage.discard()
        #expect(!chunks.pins.isPinned(digest))
    }

    @Test("stay pinned while a collection runs that began before the session ended")
    func pinsOutlive() throws {
        let digest = ChunkDigest(hashing: [1])
        chunks.pins.beginCollection()
        stage.chunks.pin(digest, length: 1, origin: .previous)
        stage.discard()
        #expect(chunks.pins.isPinned(digest))
        chunks.pins.endCollection()
        #expect(!chunks.pins.isPinned(digest))
    }

    @Test("are touched, not written, when they come again")
    func duplicates() throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        _ = try insert(try Self.blob(content), digest)
        let before = try #require(try FileSystem.status(path(digest)))
        #expect(try insert(try Self.blob(content), digest) == ChunkInsertion(isDuplicate: true, storedByteCount: 112))
        let after = try #require(try FileSystem.status(path(digest)))
        #expect(after.inode == before.inode && after.modified == before.modified)
        #expect(after.accessedNanoseconds > before.accessedNanoseconds)
    }

    @Test("keep the smaller of two plain encodings")
    func smaller() throws {
        let content = [UInt8](repeating: 1, count: 10_000)
        let digest = ChunkDigest(hashing: content)
        let (plain, compressed) = (try Self.blob(content), try Self.blob(content, compress: true))
        _ = try insert(plain, digest)
        #expect(try insert(compressed, digest) == ChunkInsertion(isDuplicate: false, storedByteCount: compressed.count))
        #expect(try insert(plain, digest) == ChunkInsertion(isDuplicate: true, storedByteCount: compressed.count))
        #expect(try chunks.read(digest) == compressed)
    }

    @Test("replace what a crash left: an empty, a short or a senseless file", arguments: [0, 5, 50])
    func aftermath(_ count: Int) throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        let blob = try Self.blob(content)
        _ = try insert(blob, digest)
        try AtomicFile.replace(path(digest), with: Array(blob.prefix(count)))
        #expect(try insert(blob, digest) == ChunkInsertion(isDuplicate: false, storedByteCount: 112))
        try AtomicFile.replace(path(digest), with: [UInt8](repeating: 1, count: count))
        #expect(try !insert(blob, digest).isDuplicate)
        #expect(try chunks.read(digest) == blob)
    }

    @Test("cannot be poisoned: plain content replaces encrypted, of whatever length", arguments: [10, 68, 500])
    func poison(_ count: Int) throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        _ = try insert(try Self.encrypted(count), digest)
        #expect(try !insert(try Self.blob(content), digest).isDuplicate)
        #expect(try chunks.read(digest) == Self.blob(content))
        let failure = #expect(throws: BackupFailure.self) { try insert(try Self.encrypted(68), digest) }
        #expect(failure?.kind == .conflict)
    }

    @Test("that are encrypted stay as they came first, unless both lengths differ without compression")
    func encryptedTwice() throws {
        let digest = ChunkDigest(hashing: [1])
        let first = try Self.encrypted(100)
        _ = try insert(first, digest)
        #expect(try insert(first, digest).isDuplicate)
        #expect(
            try insert(try Self.encrypted(50, compressed: true), digest)
                == .init(isDuplicate: true, storedByteCount: first.count))
        #expect(throws: BackupFailure.self) { try insert(try Self.encrypted(99), digest) }
        #expect(try chunks.read(digest) == first)
    }

    @Test("are refused where a folder has their name, and where they are no blob")
    func refusals() throws {
        let digest = ChunkDigest(hashing: [1])
        try FileSystem.makeFolders(path(digest), mode: 0o750)
        #expect(throws: BackupFailure.self) { try insert(try Self.blob([1]), digest) }
        #expect(throws: BackupFailure.self) { try insert([1, 2, 3], ChunkDigest(hashing: [2])) }
        #expect(try chunks.byteCount(of: digest) == nil)
    }

    @Test("tell missing from corrupt")
    func reading() throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        #expect(#expect(throws: BackupFailure.self) { try chunks.read(digest) }?.kind == .noSuchObject)
        var blob = try Self.blob(content)
        _ = try insert(blob, digest)
        blob[50] ^= 1
        try AtomicFile.replace(path(digest), with: blob)
        let failure = #expect(throws: BackupFailure.self) { try chunks.read(digest) }
        #expect(failure?.kind == .corruptData)
        #expect(failure?.summary.contains("\(digest)") == true)
    }

    @Test("that are bad are set aside under ten names, the last of which is used again")
    func bad() throws {
        let content = [UInt8](repeating: 1, count: 100)
        let digest = ChunkDigest(hashing: content)
        for number in 0..<12 {
            _ = try insert(try Self.blob(content), digest)
            #expect(try chunks.markBad(digest) == "\(digest).\(min(number, 9)).bad")
        }
        #expect(try chunks.markBad(digest) == nil)
        #expect(try FileSystem.list("\(test.path)/.chunks/\("\(digest)".prefix(4))").count == 10)
    }

    @Test("come from many threads at once, the same ones too")
    func concurrency() throws {
        let (store, stage) = (test.store, stage)
        let contents = (0..<200).map { number in [UInt8](repeating: UInt8(number % 100), count: 1000 + number % 100) }
        let results = Monitor<[ChunkInsertion]>([])
        try Threads.forEach(count: contents.count, width: 8) { number in
            let content = contents[number]
            let insertion = try store.chunks.insert(
                try BlobEncoder().encode(content, compress: true), as: ChunkDigest(hashing: content),
                length: content.count,
                pinning: stage.chunks)
            results.withLock { $0.append(insertion) }
        }
        #expect(results.withLock { $0 }.count { !$0.isDuplicate } == 100)
        #expect(stage.chunks.count == 100)
        for content in contents { _ = try chunks.read(ChunkDigest(hashing: content)) }
    }

    @Test("leave no file behind when writing fails", arguments: [StoreStep.chunkWrite, .chunkRename])
    func faults(_ step: StoreStep) throws {
        let fault = StepFault()
        fault.arm(step, SystemError("write", "chunk", code: 28))
        let test = try TestStore { $0.beforeStep = fault.hook }
        let stage = try SampleBackup().begin(in: test.store)
        let failure = #expect(throws: BackupFailure.self) { try test.store.insert([1, 2, 3], stage) }
        #expect(failure?.kind == .storageFull)
        #expect(stage.chunks.knownLength(of: ChunkDigest(hashing: [1, 2, 3])) == nil)
        for prefix in try FileSystem.list("\(test.path)/.chunks") {
            #expect(try FileSystem.list("\(test.path)/.chunks/\(prefix)") == [])
        }
        try test.store.insert([1, 2, 3], stage)
    }
}

@Suite("The in-use set of a session")
struct InUseSetTests {
    @Test("knows what was uploaded or fetched, and not what was copied")
    func known() {
        let set = InUseSet()
        let digest = ChunkDigest(hashing: [1])
        set.pin(digest, length: 5, origin: .copied)
        #expect(set.contains(digest) && set.knownLength(of: digest) == nil)
        set.pin(digest, length: 7, origin: .previous)
        #expect(set.knownLength(of: digest) == 7)
        set.pin(digest, length: 5, origin: .copied)
        #expect(set.knownLength(of: digest) == 7)
        #expect(set.count == 1)
    }

    @Test("holds many digests of all lengths")
    func many() {
        let set = InUseSet()
        var random = SeededRandom(seed: 7)
        let digests = (0..<20_000).map { _ in ChunkDigest(bytes: random.bytes(32))! }
        for (index, digest) in digests.enumerated() { set.pin(digest, length: index, origin: .previous) }
        set.pin(digests[0], length: 16 << 20, origin: .written)
        #expect(set.count == digests.count)
        #expect(set.knownLength(of: digests[0]) == 16 << 20)
        let wrong = digests.indices.dropFirst().filter { set.knownLength(of: digests[$0]) != $0 }
        #expect(wrong.isEmpty)
        #expect(!set.contains(ChunkDigest(bytes: random.bytes(32))!))
    }
}
