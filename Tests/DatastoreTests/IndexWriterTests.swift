import BackupFormats
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("The writer of an index")
struct IndexWriterTests {
    static let chunk = FixedIndexHeader.serverChunkByteCount

    let test: TestStore
    let stage: SnapshotStage

    init() throws {
        test = try TestStore { $0.time = ManualClock(seconds: 1_717_200_123).source }
        stage = try SampleBackup().begin(in: test.store)
    }

    func expectRefusal(_ text: String, _ body: () throws -> Void) {
        let failure = #expect(throws: BackupFailure.self) { try body() }
        #expect(
            failure?.kind == .invalidInput && failure?.summary.contains(text) == true, "\(String(describing: failure))")
    }

    var staged: [String] {
        get throws {
            let sessions = "\(test.path)/.cairn/sessions"
            return try FileSystem.list(sessions).filter { !$0.hasSuffix(".task") }.flatMap {
                try FileSystem.list("\(sessions)/\($0)")
            }
        }
    }

    @Test("of a stream takes chunks without gaps, and writes the bytes that the format wants")
    func dynamic() throws {
        let writer = try stage.createDynamicIndex(SampleBackup.stream)
        #expect(try staged == ["root.pxar.tmp_didx"])
        let digests = [ChunkDigest(hashing: Array("a".utf8)), ChunkDigest(hashing: Array("b".utf8))]
        try writer.append(digests[0], length: 1, at: 0)
        expectRefusal("ends at 1") { try writer.append(digests[1], length: 1, at: 2) }
        expectRefusal("0 bytes") { try writer.append(digests[1], length: 0, at: 1) }
        expectRefusal("cannot be appended") { try writer.append(digests[1], length: 17 << 20, at: 1) }
        try writer.append(digests[1], length: 1, at: 1)
        #expect(writer.appendedCount == 2)
        let checksum = "f7544ade862f9d310c0bd9e35879b53f0df575ae5c97b202f1859bbb9597f4dc"
        let summary = try writer.close(chunkCount: 2, size: 2, checksum: try #require(Hex.decode(checksum)))
        #expect("\(summary.checksum)" == checksum)
        #expect(try staged == ["root.pxar.didx"])
        expectRefusal("closed already") { try writer.append(digests[1], length: 1, at: 2) }
    }

    @Test("of an image takes chunks in any order at whole multiples, one short one at the end")
    func fixed() throws {
        let size = UInt64(2 * Self.chunk + 5)
        let writer = try stage.createFixedIndex(SampleBackup.image, size: size)
        #expect(try staged == ["disk.img.tmp_fidx"])
        let digest = ChunkDigest(hashing: [1])
        expectRefusal("behind the image") { try writer.append(digest, length: Self.chunk, at: UInt64(2 * Self.chunk)) }
        expectRefusal("behind the image") { try writer.append(digest, length: 1, at: .max) }
        expectRefusal("multiple") { try writer.append(digest, length: Self.chunk, at: 1) }
        expectRefusal("not possible") { try writer.append(digest, length: 5, at: 0) }
        expectRefusal("not possible") { try writer.append(digest, length: 0, at: UInt64(2 * Self.chunk)) }
        try writer.append(digest, length: 5, at: UInt64(2 * Self.chunk))
        try writer.append(digest, length: Self.chunk, at: 0)
        try writer.append(digest, length: Self.chunk, at: UInt64(Self.chunk))
        var checksum = FixedIndexChecksum()
        for _ in 0..<3 { checksum.add(digest) }
        _ = try writer.close(chunkCount: 3, size: size, checksum: checksum.value.bytes)
        #expect(try staged == ["disk.img.fidx"])
    }

    @Test("removes its file when the client counted something else", arguments: 0..<3)
    func mismatch(_ wrong: Int) throws {
        let writer = try stage.createDynamicIndex(SampleBackup.stream)
        let digest = ChunkDigest(hashing: [1])
        try writer.append(digest, length: 1, at: 0)
        var checksum = DynamicIndexChecksum()
        try checksum.add(DynamicIndexEntry(end: 1, digest: digest))
        expectRefusal("cannot be closed") {
            _ = try writer.close(
                chunkCount: wrong == 0 ? 2 : 1, size: wrong == 1 ? 2 : 1,
                checksum: wrong == 2 ? [] : checksum.value.bytes)
        }
        #expect(try staged == [])
    }

    @Test("notices holes of an image by the checksum, and missing chunks by the count")
    func holes() throws {
        let digest = ChunkDigest(hashing: [1])
        var checksum = FixedIndexChecksum()
        for _ in 0..<2 { checksum.add(digest) }
        let size = UInt64(2 * Self.chunk)
        for overwrites in [false, true] {
            let writer = try stage.createFixedIndex(SampleBackup.image, size: size)
            try writer.append(digest, length: Self.chunk, at: 0)
            if overwrites { try writer.append(digest, length: Self.chunk, at: 0) }
            expectRefusal(overwrites ? "the checksum" : "the number of chunks") {
                _ = try writer.close(chunkCount: 2, size: size, checksum: checksum.value.bytes)
            }
        }
    }

    @Test("refuses images that are empty or beyond all measure", arguments: [0, 64 << 40 + 1, UInt64.max] as [UInt64])
    func sizes(_ size: UInt64) {
        expectRefusal("not possible") { _ = try stage.createFixedIndex(SampleBackup.image, size: size) }
    }

    @Test("takes no room for an image that nobody writes")
    func sparse() throws {
        let before = try test.store.usage().available
        let writer = try stage.createFixedIndex(SampleBackup.image, size: 64 << 40)
        #expect(try before - test.store.usage().available < 256 << 20)
        writer.discard()
        #expect(try staged == [])
    }

    @Test("may exist twice for one archive: the last to close wins")
    func twice() throws {
        let (first, second) = (
            try stage.createDynamicIndex(SampleBackup.stream), try stage.createDynamicIndex(SampleBackup.stream)
        )
        for (writer, byte) in [(first, UInt8(1)), (second, 2)] {
            var checksum = DynamicIndexChecksum()
            let digest = ChunkDigest(hashing: [byte])
            try checksum.add(DynamicIndexEntry(end: 1, digest: digest))
            try writer.append(digest, length: 1, at: 0)
            _ = try writer.close(chunkCount: 1, size: 1, checksum: checksum.value.bytes)
        }
        #expect(try staged == ["root.pxar.didx"])
        #expect(stage.fileCount == 1)
    }
}
