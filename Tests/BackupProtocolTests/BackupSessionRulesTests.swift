import BackupFormats
import BackupProtocol
import Testing

@Suite("The rules of a backup session")
struct BackupSessionRulesTests {
    static let digest = ChunkDigest(hashing: [1])
    static let checksum = String(repeating: "1", count: 64)
    static let mebi = 1024 * 1024

    /// The text of what `body` throws.
    static func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "accepted"
        } catch let failure as BackupFailure {
            return failure.summary
        } catch {
            return "\(error)"
        }
    }

    static func open(
        _ rules: inout BackupSessionRules, _ kind: WriterKind, _ name: String, size: UInt64 = 0,
        incremental: Bool = false
    ) throws -> Int {
        let archive = try rules.checkOpening(kind, name: name, size: kind == .fixed ? size : nil)
        return rules.register(kind, name: archive, size: size, isIncremental: incremental)
    }

    @Test("count writers of both kinds from one, and no further than 256")
    func writerIDs() throws {
        var rules = BackupSessionRules()
        do {
            let id = try Self.open(&rules, .dynamic, "a.didx")
            #expect(id == 1)
        }
        do {
            let id = try Self.open(&rules, .fixed, "b.fidx", size: 1)
            #expect(id == 2)
        }
        for expected in 3...256 {
            let id = try Self.open(&rules, .dynamic, "a.didx")
            #expect(id == expected)
        }
        #expect(throws: BackupFailure.self) { try Self.open(&rules, .dynamic, "a.didx") }
    }

    @Test("want the ending of the kind, and images below the limit")
    func names() throws {
        let rules = BackupSessionRules(imageLimit: 100)
        #expect(
            Self.refusal { _ = try rules.checkOpening(.dynamic, name: "x.fidx", size: nil) }
                == "wrong archive extension: 'x.fidx'")
        #expect(
            Self.refusal { _ = try rules.checkOpening(.fixed, name: "x.didx", size: 1) }
                == "wrong archive extension: 'x.didx'")
        #expect(
            Self.refusal { _ = try rules.checkOpening(.dynamic, name: "x", size: nil) }
                == "wrong archive extension: 'x'")
        #expect(Self.refusal { _ = try rules.checkOpening(.fixed, name: "x.fidx", size: 101) }.contains("x.fidx"))
        #expect(Self.refusal { _ = try rules.checkBlob(name: "x.txt") } == "wrong blob file extension: 'x.txt'")
    }

    @Test("take dynamic entries without gap or overlap, and keep those before a wrong one")
    func dynamicAppend() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .dynamic, "a.pxar.didx")
        let length = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: 0, length: 108)
        #expect(length == 108)
        for offset: UInt64 in [0, 107, 109] {
            let text = Self.refusal {
                _ = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: offset, length: 5)
            }
            #expect(
                text == "dynamic writer 'a.pxar.didx' append chunk failed - got strange chunk offset (108 != \(offset))"
            )
        }
        _ = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: 108, length: 2)
        _ = try rules.beginClose(.dynamic, IndexClose(writer: id, chunkCount: 2, size: 110, checksum: Self.checksum))
    }

    @Test("refuse an unknown chunk before an unknown writer, and a writer of the other kind")
    func unknown() throws {
        var rules = BackupSessionRules()
        #expect(
            Self.refusal { _ = try rules.append(.dynamic, writer: 7, digest: Self.digest, offset: 0, length: nil) }
                == "no such chunk \(Self.digest)")
        let id = try Self.open(&rules, .fixed, "a.fidx", size: 9)
        #expect(
            Self.refusal { _ = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: 0, length: 1) }
                == "dynamic writer '1' not registered")
        #expect(
            Self.refusal { try rules.chunkStored(.dynamic, writer: id, size: 1, storedSize: 1, isDuplicate: false) }
                == "dynamic writer '1' not registered")
    }

    @Test("take fixed entries in any order, at their places only")
    func fixedAppend() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .fixed, "d.img.fidx", size: 5_000_000)
        let full = 4 * Self.mebi
        func append(_ offset: UInt64, _ length: Int) -> String {
            Self.refusal {
                _ = try rules.append(.fixed, writer: id, digest: Self.digest, offset: offset, length: length)
            }
        }
        #expect(append(100, full).contains("got unaligned chunk (pos = 100)"))
        #expect(append(0, 805_696).contains("chunk with unexpected length (805696 != 4194304)"))
        #expect(append(4_194_304, full).contains("chunk data exceeds size (8388608 >= 5000000)"))
        #expect(append(UInt64.max, full).contains("exceeds size"))
        #expect(append(4_194_304, 805_696) == "accepted")
        #expect(append(0, full) == "accepted")
        _ = try rules.beginClose(
            .fixed, IndexClose(writer: id, chunkCount: 2, size: 5_000_000, checksum: Self.checksum))
    }

    @Test("take one short chunk for each fixed writer, and none above 4 MiB")
    func shortChunks() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .fixed, "d.img.fidx", size: 5_000_000)
        try rules.beginChunk(.fixed, writer: id, size: 4 * Self.mebi)
        try rules.beginChunk(.fixed, writer: id, size: 5)
        rules.chunkFailed(writer: id, size: 5)
        try rules.beginChunk(.fixed, writer: id, size: 5)
        #expect(
            Self.refusal { try rules.beginChunk(.fixed, writer: id, size: 5) }.contains("detected multiple end chunks"))
        #expect(
            Self.refusal { try rules.beginChunk(.fixed, writer: id, size: 4 * Self.mebi + 1) }
                .contains("got large chunk (4194305 > 4194304)"))
    }

    @Test("refuse a close with wrong counts, and every finish after it")
    func failedClose() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .dynamic, "a.pxar.didx")
        _ = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: 0, length: 108)
        let wrong = IndexClose(writer: id, chunkCount: 2, size: 108, checksum: Self.checksum)
        #expect(
            Self.refusal { _ = try rules.beginClose(.dynamic, wrong) }
                == "dynamic writer 'a.pxar.didx' close failed - unexpected chunk count (1 != 2)")
        #expect(Self.refusal { _ = try rules.beginClose(.dynamic, wrong) } == "dynamic writer '1' not registered")
        rules.blobStored(byteCount: 1)
        #expect(Self.refusal { _ = try rules.beginFinish() }.contains("a.pxar.didx"))
    }

    @Test("compare a fixed index with its image, unless it builds on another")
    func fixedClose() throws {
        var rules = BackupSessionRules()
        let close = { IndexClose(writer: $0, chunkCount: $1, size: $2, checksum: Self.checksum) }
        for (count, size, text) in [(UInt64(1), UInt64(1), "wrong number of chunk"), (0, 5, "unexpected chunk count")] {
            let id = try Self.open(&rules, .fixed, "d.fidx", size: 5)
            #expect(Self.refusal { _ = try rules.beginClose(.fixed, close(id, count, size)) }.contains(text))
        }
        let full = try Self.open(&rules, .fixed, "d.fidx", size: 5)
        _ = try rules.append(.fixed, writer: full, digest: Self.digest, offset: 0, length: 5)
        #expect(
            Self.refusal { _ = try rules.beginClose(.fixed, close(full, 1, 6)) }
                == "fixed writer 'd.fidx' close failed - unexpected file size (5 != 6)")
        let incremental = try Self.open(&rules, .fixed, "d.fidx", size: 5, incremental: true)
        _ = try rules.beginClose(.fixed, close(incremental, 0, 12345))
    }

    @Test("leave the writer alone where the checksum is no checksum")
    func badChecksum() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .fixed, "d.fidx", size: 5, incremental: true)
        #expect(throws: BackupFailure.self) {
            try rules.beginClose(.fixed, IndexClose(writer: id, chunkCount: 0, size: 0, checksum: "xx"))
        }
        _ = try rules.beginClose(.fixed, IndexClose(writer: id, chunkCount: 0, size: 0, checksum: Self.checksum))
    }

    @Test("finish once, when all is closed and something is there")
    func finish() throws {
        var rules = BackupSessionRules()
        #expect(Self.refusal { _ = try rules.beginFinish() } == "backup does not contain valid files (file count == 0)")
        let id = try Self.open(&rules, .dynamic, "a.didx")
        try rules.chunkStored(.dynamic, writer: id, size: 10, storedSize: 7, isDuplicate: true)
        #expect(Self.refusal { _ = try rules.beginFinish() }.contains("found open index writer"))
        _ = try rules.append(.dynamic, writer: id, digest: Self.digest, offset: 0, length: 10)
        rules.closed(
            try rules.beginClose(.dynamic, IndexClose(writer: id, chunkCount: 1, size: 10, checksum: Self.checksum)))
        rules.blobStored(byteCount: 5)

        let statistics = try rules.beginFinish()
        #expect(
            [statistics.count, statistics.size, statistics.compressedSize, statistics.duplicates] == [1, 15, 7, 1])
        #expect(Self.refusal { _ = try rules.beginFinish() } == "the backup is already being finished")
        #expect(Self.refusal { _ = try rules.checkBlob(name: "x.blob") } == "the backup is already being finished")
        rules.finishRefused()
        _ = try rules.checkBlob(name: "x.blob")
        _ = try rules.beginFinish()
        rules.finished()
        #expect(Self.refusal { _ = try rules.beginFinish() } == "backup already marked as finished.")
        let hadFinished = rules.connectionEnded()
        #expect(hadFinished)
    }

    @Test("throw everything away when the connection ends before that")
    func ends() throws {
        var rules = BackupSessionRules()
        let id = try Self.open(&rules, .dynamic, "a.didx")
        let hadFinished = rules.connectionEnded()
        #expect(!hadFinished)
        #expect(
            Self.refusal { try rules.chunkStored(.dynamic, writer: id, size: 1, storedSize: 1, isDuplicate: false) }
                == "the session is over")
    }
}

@Suite("The rules of a reader session")
struct ReaderSessionRulesTests {
    @Test("allow chunks of downloaded indexes only")
    func chunks() throws {
        var rules = ReaderSessionRules()
        let digest = ChunkDigest(hashing: [1])
        do {
            try rules.checkChunk(digest)
            Issue.record("allowed")
        } catch {
            #expect(error.kind == .notAuthenticated)
            #expect(error.summary == "download chunk \(digest) not allowed")
        }
        try rules.allow([digest])
        try rules.checkChunk(digest)
        rules.connectionEnded()
        #expect(throws: BackupFailure.self) { try rules.checkChunk(digest) }
    }

    @Test("know the files of a snapshot by their endings")
    func files() throws {
        let rules = ReaderSessionRules()
        let index = try rules.checkDownload(name: "a.didx")
        #expect(index.kind == .dynamicIndex)
        #expect(throws: BackupFailure.self) { _ = try rules.checkDownload(name: "owner") }
    }
}

@Suite("A set of digests")
struct DigestSetTests {
    @Test("holds what was put in, across many segments, and nothing else")
    func holds() throws {
        var set = DigestSet()
        let digests = (0..<10_000).map { ChunkDigest(hashing: withUnsafeBytes(of: $0) { Array($0) }) }
        for digest in digests + digests.prefix(500) { try set.insert(digest) }
        let count = set.count
        #expect(count == digests.count)
        let missing = digests.filter { !set.contains($0) }
        #expect(missing.isEmpty)
        let hasZero = set.contains(.zero)
        #expect(!hasZero)
    }
}
