import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import BlobCoding
import Datastore
import Testing

@Suite("A backup session")
struct BackupSessionTests {
    @Test("publishes what was uploaded, and a reader gets the same bytes")
    func roundTrip() async throws {
        let world = try SessionWorld()
        let chunks = Chunks.make(20)
        let session = try await world.backup()
        let archive = try await session.archive("root.pxar.didx", chunks)
        let blob = try await session.blob("vm.conf.blob", [1, 2, 3])
        try await session.manifest([archive, blob])
        #expect(try world.published() == [])
        try await session.must(.finish)
        #expect(try world.published() == [1_700_000_000])
        await session.transport.close()
        #expect(try await world.statuses("backup") == ["OK"])
        #expect(try world.staged() == [])

        let reader = try await world.reader()
        let manifest = try await reader.call(.download(name: "index.json.blob"))
        let json = try JSONValue(parsing: BlobDecoder().decode(manifest.bytes, limit: 1 << 20))
        let size = chunks.reduce(0) { $0 + $1.count } + 15
        #expect(json["unprotected"]?["chunk_upload_stats"]?["count"]?.intValue == 20)
        #expect(json["unprotected"]?["chunk_upload_stats"]?["duplicates"]?.intValue == 0)
        #expect((json["unprotected"]?["chunk_upload_stats"]?["size"]?.intValue ?? 0) > size)
        #expect(json["files"] == .array([archive, blob]) || json["files"]?.arrayValue?.count == 2)
        let index = try await reader.call(.download(name: "root.pxar.didx"))
        #expect(index.bytes.count == 4096 + 40 * chunks.count)
        #expect(index.contentType == "application/octet-stream")
        for chunk in chunks {
            let answer = try await reader.call(.chunk(ChunkDigest(hashing: chunk)))
            #expect(try BlobDecoder().decode(answer.bytes, limit: 1 << 20) == chunk)
        }
        #expect(try await reader.call(.download(name: "vm.conf.blob")).bytes.suffix(3) == [1, 2, 3])
        await reader.transport.close()
        #expect(try await world.statuses("reader") == ["OK"])
    }

    @Test("builds on the previous snapshot: chunks of its indexes need no upload, an image only what changed")
    func incremental() async throws {
        let world = try SessionWorld()
        let chunks = Chunks.make(3)
        let full = [UInt8](repeating: 0, count: 4 << 20)
        let tail = [UInt8](repeating: 9, count: 100)
        let digests = [full, tail].map { ChunkDigest(hashing: $0) }
        let size = UInt64(full.count + tail.count)
        func checksum(_ digests: [ChunkDigest]) -> String { "\(ChunkDigest(hashing: digests.flatMap(\.bytes)))" }

        let first = try await world.backup()
        #expect(try await first.must(.previousBackupTime).text == #"{"data":null}"#)
        #expect(try await first.call(.previous(name: "x.didx")).status == 400)
        #expect(
            try await first.call(.openFixedIndex(name: "d.fidx", size: size, reuse: checksum(digests))).status == 400)
        let archive = try await first.archive("root.pxar.didx", chunks)
        let image = try await first.must(.openFixedIndex(name: "disk.img.fidx", size: size, reuse: nil)).writerID
        #expect(try await first.upload(full, to: image, .fixed).status == 200)
        #expect(try await first.upload(tail, to: image, .fixed).status == 200)
        try await first.must(
            .append(.fixed, ChunkAppend(writer: image, digests: digests.reversed(), offsets: [4 << 20, 0])))
        try await first.must(
            .close(.fixed, IndexClose(writer: image, chunkCount: 2, size: size, checksum: checksum(digests))))
        try await first.manifest([archive, SessionClient.file("disk.img.fidx", Int(size), checksum(digests))])
        try await first.must(.finish)

        // The first connection is still there; its group is free all the same.
        let second = try await world.backup("web1", 1_700_000_001)
        #expect(try await second.must(.previousBackupTime).text == #"{"data":1700000000}"#)
        let dynamic = try await second.must(.openDynamicIndex(name: "root.pxar.didx")).writerID
        let append = BackupCall.append(
            .dynamic, ChunkAppend(writer: dynamic, digests: [ChunkDigest(hashing: chunks[0])], offsets: [0]))
        #expect(try await second.call(append).text == "no such chunk \(ChunkDigest(hashing: chunks[0]))")
        #expect(try await second.must(.previous(name: "root.pxar.didx")).bytes.count == 4096 + 3 * 40)
        #expect(try await second.call(.previous(name: "no.didx")).status == 400)
        #expect(try await second.call(.previous(name: "no.blob")).status == 404)
        #expect(try await second.call(.previous(name: "owner")).status == 400)
        try await second.must(append)
        var table: [UInt8] = []
        table.appendLittleEndian(UInt64(chunks[0].count))
        ChunkDigest(hashing: chunks[0]).append(to: &table)
        let csum = "\(ChunkDigest(hashing: table))"
        try await second.must(
            .close(.dynamic, IndexClose(writer: dynamic, chunkCount: 1, size: UInt64(chunks[0].count), checksum: csum)))

        #expect(try await second.call(.openFixedIndex(name: "disk.img.fidx", size: size, reuse: "zz")).status == 400)
        #expect(
            try await second.call(.openFixedIndex(name: "disk.img.fidx", size: 9 << 20, reuse: checksum(digests)))
                .status == 400)
        #expect(
            try await second.call(.openFixedIndex(name: "other.fidx", size: size, reuse: checksum(digests))).status
                == 400)
        let reused = try await second.must(.openFixedIndex(name: "disk.img.fidx", size: size, reuse: checksum(digests)))
            .writerID
        #expect(reused == 2)
        let new = [UInt8](repeating: 5, count: 4 << 20)
        #expect(try await second.upload(new, to: reused, .fixed).status == 200)
        let changed = [ChunkDigest(hashing: new), digests[1]]
        try await second.must(.append(.fixed, ChunkAppend(writer: reused, digests: [changed[0]], offsets: [0])))
        try await second.must(
            .close(.fixed, IndexClose(writer: reused, chunkCount: 1, size: 4 << 20, checksum: checksum(changed))))
        try await second.manifest([
            SessionClient.file("root.pxar.didx", chunks[0].count, csum),
            SessionClient.file("disk.img.fidx", Int(size), checksum(changed)),
        ])
        try await second.must(.finish)
        await first.transport.close()
        await second.transport.close()
        #expect(try world.published() == [1_700_000_000, 1_700_000_001])
        #expect(try await world.statuses("backup") == ["OK", "OK"])
    }

    @Test("refuses chunks that are not what was announced, and goes on")
    func badChunks() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        let writer = try await session.must(.openDynamicIndex(name: "a.pxar.didx")).writerID
        let content = [UInt8](repeating: 7, count: 500)
        let digest = ChunkDigest(hashing: content)
        for compress in [false, true] {
            let blob = try BlobEncoder().encode(content, compress: compress)
            func upload(_ digest: ChunkDigest, _ size: Int, _ encodedSize: Int, _ data: [UInt8], _ id: Int = writer)
                async throws -> String
            {
                let answer = try await session.call(
                    .uploadChunk(
                        .dynamic, ChunkUpload(writer: id, digest: digest, size: size, encodedSize: encodedSize)),
                    data: data)
                return "\(answer.status) \(answer.text)"
            }
            #expect(try await upload(.zero, 500, blob.count, blob).hasPrefix("400 detected chunk with wrong digest"))
            #expect(try await upload(digest, 501, blob.count, blob).hasPrefix("400 detected chunk with wrong length"))
            #expect(try await upload(digest, 499, blob.count, blob).hasPrefix("400 detected chunk with wrong"))
            #expect(try await upload(digest, 500, blob.count + 1, blob).contains("unexpected size"))
            #expect(try await upload(digest, 500, blob.count - 1, blob).contains("larger than announced"))
            #expect(try await upload(digest, 500, blob.count, [0] + blob.dropFirst()).contains("wrong magic"))
            #expect(try await upload(digest, 500, blob.count, blob, 9) == "400 dynamic writer '9' not registered")
            #expect(
                try await session.call(.append(.dynamic, ChunkAppend(writer: writer, digests: [digest], offsets: [0])))
                    .status == 400)
        }
        var blob = try BlobEncoder().encode(content, compress: false)
        blob[8] ^= 1
        let answer = try await session.call(
            .uploadChunk(.dynamic, ChunkUpload(writer: writer, digest: digest, size: 500, encodedSize: blob.count)),
            data: blob)
        #expect(answer.text == #"{"data":"\#(digest)"}"#, "a wrong checksum is made right")
        #expect(try BlobDecoder().decode(world.store.chunks.read(digest), limit: 500) == content)
        let wrong = try await session.call(.uploadBlob(name: "x.blob", encodedSize: blob.count), data: blob)
        #expect(wrong.status == 400, "that of a blob is not")
        await session.transport.close()
    }

    @Test("tells of duplicates only those who may read everything")
    func duplicates() async throws {
        let world = try SessionWorld()
        let content = [UInt8](repeating: 7, count: 500)
        let curious = try await world.backup("a", 1, revealsDuplicates: true)
        _ = try await curious.must(.openDynamicIndex(name: "a.didx"))
        #expect(try await curious.upload(content, to: 1).text.hasSuffix(#","duplicate":false}"#))
        #expect(try await curious.upload(content, to: 1).text.hasSuffix(#","duplicate":true}"#))
        let other = try await world.backup("b", 1)
        _ = try await other.must(.openDynamicIndex(name: "a.didx"))
        #expect(try await other.upload(content, to: 1).text == #"{"data":"\#(ChunkDigest(hashing: content))"}"#)
        await curious.transport.close()
        await other.transport.close()
    }

    @Test("gives writer ids in the order in which the calls came, whoever runs first")
    func order() async throws {
        let world = try SessionWorld()
        let snapshot = try SessionWorld.snapshot("web1", 1)
        let handler = try await world.opener.openBackup(
            OpenRequest(datastore: SessionWorld.storeName, snapshot: snapshot), in: world.store,
            grant: world.access.grant(.datastoreBackup, on: .datastore(SessionWorld.storeName), to: world.root))
        let calls = (1...30).map { handler.receive(BackupRequest(.openDynamicIndex(name: "a\($0).didx"))) }
        var texts: [String] = []
        for call in calls.reversed() {
            texts.append(String(decoding: try await call().collect(limit: 100), as: UTF8.self))
        }
        #expect(texts.reversed() == (1...30).map { "{\"data\":\($0)}" })
        await handler.connectionEnded(.closed)
    }

    @Test("answers paths, methods and parameters that are wrong as clients expect it")
    func strangeCalls() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        func send(_ method: String, _ target: String, type: String? = nil, body: String = "") async throws
            -> SessionClient.Answer
        {
            try await session.send(
                BackupRequest(
                    head: BackupRequestHead(method: method, target: target, contentType: type), body: Array(body.utf8)))
        }
        #expect(try await send("GET", "/").text.hasPrefix(#"{"data":[{"subdir":"blob"},"#))
        let unknown = try await send("GET", "/finish")
        #expect(unknown.status == 404)
        #expect(unknown.text == "Path '/finish' not found.")
        let dotted = try await send("GET", "/./previous_backup_time")
        #expect(dotted.status == 400)
        #expect(dotted.contentType == nil)
        #expect(try await send("GET", "//previous_backup_time/?_dc=5").status == 200)
        let parameter = try await send("GET", "/previous_backup_time?x=1")
        #expect(parameter.text.hasPrefix("parameter verification failed - 'x': "))
        #expect(parameter.contentType == nil)
        #expect(try await send("POST", "/speedtest", type: "text/plain", body: "abc").text == #"{"data":null}"#)
        #expect(try await send("POST", "/finish", type: "text/plain", body: "x").status == 400)
        #expect(try await send("POST", "/finish", type: "application/octet-stream").status == 400)
        #expect(
            try await send("POST", "/dynamic_index", type: "application/json", body: #"{"archive-name":"a.didx"}"#)
                .writerID == 1)
        #expect(try await send("POST", "/dynamic_index", body: "archive-name=b.didx").writerID == 2)
        let long = String(repeating: " ", count: 512 * 1024 + 1)
        #expect(
            try await send("PUT", "/dynamic_index", type: "application/json", body: long).text
                == "Request body too large")
        #expect(
            try await send(
                "PUT", "/dynamic_index", type: "application/json", body: #"{"wid":7,"digest-list":[],"offset-list":[]}"#
            ).status == 200)
        await session.transport.close()
    }

    @Test("finishes only what is whole, and says what is missing")
    func finish() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        #expect(try await session.call(.finish).text == "backup does not contain valid files (file count == 0)")
        let file = try await session.blob("a.conf.blob", [1])
        #expect(try await session.call(.finish).text.contains("index.json.blob"))
        _ = try await session.must(.openDynamicIndex(name: "a.didx"))
        #expect(try await session.call(.finish).text.contains("a.didx"))
        let archive = try await session.archive("b.didx", Chunks.make(2))
        try await session.manifest([file, archive])
        #expect(try await session.call(.finish).status == 400)
        await session.transport.close()
        #expect(try world.published() == [])

        let again = try await world.backup()
        let good = try await again.blob("a.conf.blob", [1])
        try await again.manifest([good, SessionClient.file("ghost.didx", 5, String(repeating: "1", count: 64))])
        #expect(try await again.call(.finish).text.contains("ghost.didx"))
        try await again.manifest([good])
        try await again.must(.finish)
        #expect(try await again.call(.finish).text == "backup already marked as finished.")
        #expect(try await again.call(.uploadBlob(name: "late.blob", encodedSize: 12)).status == 400)
        await again.transport.cut(reason: "reset")
        #expect(try world.published() == [1_700_000_000])
        #expect(try await world.statuses("backup") == ["backup ended but finished flag is not set.", "OK"])
    }

    @Test("cannot be finished once an index failed to close")
    func failedClose() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        let writer = try await session.must(.openDynamicIndex(name: "a.pxar.didx")).writerID
        let content = [UInt8](repeating: 1, count: 108)
        _ = try await session.upload(content, to: writer)
        try await session.must(
            .append(.dynamic, ChunkAppend(writer: writer, digests: [ChunkDigest(hashing: content)], offsets: [0])))
        let close = BackupCall.close(
            .dynamic, IndexClose(writer: writer, chunkCount: 1, size: 108, checksum: String(repeating: "1", count: 64)))
        let answer = try await session.call(close)
        #expect(answer.text.hasPrefix("dynamic writer 'a.pxar.didx' close failed"))
        #expect(try await session.call(close).text == "dynamic writer '1' not registered")
        let file = try await session.blob("a.conf.blob", [1])
        try await session.manifest([file])
        #expect(try await session.call(.finish).text.contains("a.pxar.didx"))
        await session.transport.close()
    }

    @Test("has its group to itself, and nothing older than the newest snapshot")
    func groupLock() async throws {
        let world = try SessionWorld()
        let session = try await world.backup("web1", 100)
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("web1", 101) }
        let other = try await world.backup("web2", 100)
        await other.transport.close()
        try await session.small()
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("web1", 100) }
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("web1", 99) }
        #expect(world.opener.sessionCount == 0)
    }

    @Test("of a benchmark keeps nothing and succeeds")
    func benchmark() async throws {
        let world = try SessionWorld()
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("benchmark", 1) }
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("web1", 1, benchmark: true) }
        let session = try await world.backup("benchmark", 1, benchmark: true)
        try await session.must(.speedtest, data: [1, 2, 3])
        _ = try await session.blob("a.blob", [1])
        await session.transport.cut(reason: "gone")
        #expect(try await world.statuses("benchmark").last == "OK")
        #expect(try world.published("benchmark") == [])
        #expect(try world.staged() == [])
    }

    @Test("does not begin on a disk that is almost full")
    func freeSpace() async throws {
        let world = try SessionWorld(minimumFreeByteCount: .max)
        do {
            _ = try await world.backup()
            Issue.record("opened")
        } catch let failure as BackupFailure {
            #expect(failure.kind == .storageFull)
        }
        #expect(try await world.statuses("backup") == [], "a session that never began is no task")
    }

    @Test("may write an archive twice; the one that is closed last counts")
    func sameName() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        let chunks = Chunks.make(2)
        #expect(try await session.must(.openDynamicIndex(name: "a.didx")).writerID == 1)
        let file = try await session.archive("a.didx", chunks)
        try await session.manifest([file])
        #expect(try await session.call(.finish).text.contains("found open index writer '1' ('a.didx')"))
        await session.transport.close()
    }

    @Test("has its snapshot verified where the datastore asks for it, and never lets go of its lock in between")
    func verifyNew() async throws {
        let world = try SessionWorld(verifiesNew: true)
        let session = try await world.backup()
        try await session.manifest([try await session.archive("a.didx", Chunks.make(3))])
        try await session.must(.finish)
        await session.transport.close()
        #expect(try await world.statuses("verify") == ["OK"])
        let reader = try await world.reader()
        let manifest = try await reader.call(.download(name: "index.json.blob"))
        let json = try JSONValue(parsing: BlobDecoder().decode(manifest.bytes, limit: 1 << 20))
        #expect(json["unprotected"]?["verify_state"]?["state"] == "ok")
        await reader.transport.close()
    }
}
