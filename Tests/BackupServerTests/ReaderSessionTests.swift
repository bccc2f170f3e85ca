import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import Testing

@Suite("A reader session")
struct ReaderSessionTests {
    @Test("gives chunks of downloaded indexes only, and lets others wait")
    func chunks() async throws {
        let world = try SessionWorld { $0.refusalDelay = .milliseconds(300) }
        let chunks = Chunks.make(2)
        let session = try await world.backup()
        try await session.manifest([try await session.archive("a.didx", chunks)])
        try await session.must(.finish)
        await session.transport.close()

        let reader = try await world.reader()
        let digest = ChunkDigest(hashing: chunks[0])
        #expect(try await reader.call(.download(name: "index.json.blob")).status == 200)
        let start = ContinuousClock.now
        let refused = try await reader.call(.chunk(digest))
        #expect(refused.status == 401)
        #expect(refused.text == "download chunk \(digest) not allowed")
        #expect(ContinuousClock.now - start >= .milliseconds(300))
        #expect(try await reader.call(.download(name: "a.didx")).status == 200)
        #expect(try await reader.call(.chunk(digest)).status == 200)
        #expect(try await reader.call(.chunk(ChunkDigest(hashing: [1]))).status == 401)
        await reader.transport.close()
    }

    @Test("answers what is not there as clients expect it")
    func missing() async throws {
        let world = try SessionWorld()
        try await world.backup().small()
        await #expect(throws: BackupFailure.self) { _ = try await world.reader("web1", 5) }
        let reader = try await world.reader()
        #expect(try await reader.call(.download(name: "client.log.blob")).status == 404)
        #expect(try await reader.call(.download(name: "no.didx")).status == 400)
        #expect(try await reader.call(.download(name: "owner")).status == 400)
        #expect(
            try await reader.call(.download(name: "../x")).text.hasPrefix(
                "parameter verification failed - 'file-name': "))
        #expect(
            try await reader.call(.directory).text
                == #"{"data":[{"subdir":"chunk"},{"subdir":"download"},{"subdir":"speedtest"}]}"#)
        #expect(try await reader.call(.speedtest).bytes == [UInt8](repeating: 0x41, count: 1 << 20))
        let post = BackupRequest(head: BackupRequestHead(method: "POST", path: "/download"))
        #expect(try await reader.send(post).status == 404)
        await reader.transport.cut(reason: "reset")
        #expect(try await world.statuses("reader").last == "OK")
    }

    @Test("keeps its snapshot while others read it and the group goes on")
    func lock() async throws {
        let world = try SessionWorld()
        try await world.backup().small()
        let snapshot = try SessionWorld.snapshot("web1", 1_700_000_000)
        let readers = try await [world.reader(), world.reader()]
        try await world.backup("web1", 1_700_000_001).small()
        #expect(throws: BackupFailure.self) { try world.store.removeSnapshot(snapshot, in: .root) }
        for reader in readers {
            #expect(try await reader.call(.download(name: "a.conf.blob")).status == 200)
            await reader.transport.close()
        }
        try world.store.removeSnapshot(snapshot, in: .root)
    }

    @Test("of a snapshot that is being written is refused")
    func unfinished() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        do {
            _ = try await world.reader()
            Issue.record("opened")
        } catch let failure as BackupFailure {
            #expect(failure.summary.contains("still being written by task"))
        }
        await session.transport.close()
    }
}
