import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import BlobCoding
import CairnTestSupport
import Datastore
import Synchronization
import Testing

@Suite("A pull")
struct PullTests {
    @Test("copies manifests byte by byte, and nothing the second time")
    func copies() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z")
        let first = try await world.run()
        #expect(first.status == "OK", "\(first.log)")
        #expect(try world.copied == ["host/a/2024-06-01T00:00:00Z"])
        let name = try #require(SnapshotName(parsing: "host/a/2024-06-01T00:00:00Z"))
        #expect(try world.to.manifestBytes(of: name, in: .root) == world.from.manifestBytes(of: name, in: .root))
        let chunks = world.loop.faults.withLock { $0.chunks }
        let second = try await world.run()
        #expect(second.log.contains("no data changes") && second.log.contains("found no new data"), "\(second.log)")
        #expect(world.loop.faults.withLock { $0.chunks } == chunks)
    }

    @Test("fetches no chunk that arrived before the connection broke, also in a later run")
    func resumes() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z", pieces: 20)
        world.loop.faults.withLock { $0.answersLeft = 12 }
        let first = try await world.run()
        #expect(first.status != "OK" && first.log.contains("the network is down"), "\(first.log)")
        #expect(try world.copied.isEmpty)
        #expect(world.to.sessions.activeCount == 0)
        #expect(world.to.arrivals.keys.count == 1)
        let arrived = world.to.arrivals.open(try #require(world.to.arrivals.keys.first)).count
        #expect(arrived > 0)
        world.loop.faults.withLock { faults in
            faults.answersLeft = nil
            faults.chunks = 0
        }
        let second = try await world.run()
        #expect(second.status == "OK", "\(second.log)")
        // 20 of the stream and 2 of the image.
        #expect(world.loop.faults.withLock { $0.chunks } == 22 - arrived)
        #expect(world.to.arrivals.keys.isEmpty)
    }

    @Test("begins a snapshot again where the connection breaks once")
    func retries() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z")
        let isFirst = Flag()
        world.lie { head, response in
            if head.path == "/chunk", isFirst.take() { throw BackupFailure(.unavailable, "a short break") }
            return response
        }
        let result = try await world.run()
        #expect(result.status == "OK" && result.log.contains("a short break"), "\(result.log)")
    }

    /// What a remote may do to an answer, and a word of the failure.
    static let lies:
        [(name: String, word: String, lie: @Sendable (BackupRequestHead, BackupResponse) -> BackupResponse)] =
            [
                (
                    "sends chunks of another content", "is damaged at the source",
                    { head, response in
                        guard head.path == "/chunk" else { return response }
                        return bytes(try? BlobEncoder().encode(Array("something else".utf8), compress: false))
                    }
                ),
                (
                    "sends encrypted chunks for plain ones", "length and kind",
                    { head, response in
                        guard head.path == "/chunk" else { return response }
                        var blob: [UInt8] = []
                        let seal = DataBlobHeader.Seal(iv: .zero, tag: .zero)
                        DataBlobHeader(sealed: seal, compressed: false, checksum: CRC32.checksum(of: [1, 2, 3])).append(
                            to: &blob)
                        return bytes(blob + [1, 2, 3])
                    }
                ),
                (
                    "never ends an index", "longer than",
                    { head, response in
                        guard head.query.contains("didx") else { return response }
                        return BackupResponse(status: 200, contentType: nil, body: .stream(Endless(), length: nil))
                    }
                ),
                (
                    "never ends a manifest", "longer than",
                    { head, response in
                        guard head.query.contains("index.json") else { return response }
                        return BackupResponse(status: 200, contentType: nil, body: .stream(Endless(), length: nil))
                    }
                ),
                (
                    "announces an absurd index", "are possible",
                    { head, response in
                        guard head.query.contains("didx") else { return response }
                        return BackupResponse(status: 200, contentType: nil, body: .stream(Endless(), length: .max))
                    }
                ),
                (
                    "sends an index of zeros", "Index root.pxar.didx",
                    { head, response in
                        guard head.query.contains("didx") else { return response }
                        return bytes([UInt8](repeating: 0, count: 4096 + 40))
                    }
                ),
                (
                    "has no blob that its manifest lists", "missing at the source",
                    { head, response in
                        guard head.query.contains("vm.conf") else { return response }
                        return BackupResponse(status: 404, contentType: nil, body: .bytes([]))
                    }
                ),
                (
                    "sends a manifest that is none", "manifest",
                    { head, response in
                        guard head.query.contains("index.json") else { return response }
                        return bytes([1, 2, 3])
                    }
                ),
                (
                    "fails at a chunk", "Chunk",
                    { head, response in
                        guard head.path == "/chunk" else { return response }
                        return BackupResponse(status: 500, contentType: nil, body: .bytes(Array("no".utf8)))
                    }
                ),
            ]

    private static func bytes(_ bytes: [UInt8]?) -> BackupResponse {
        BackupResponse(status: 200, contentType: nil, body: .bytes(bytes ?? []))
    }

    @Test("publishes nothing of a remote that lies, says what is wrong, and goes on", arguments: lies.indices)
    func findsLies(_ number: Int) async throws {
        let lie = Self.lies[number]
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z", seed: 1)
        try world.backUp("host/b/2024-06-01T00:00:00Z", seed: 2)
        // The second group is served truly: the lie ends with the first session.
        world.lie { [loop = world.loop] head, response in
            loop.faults.withLock { $0.opened } == 1 ? lie.lie(head, response) : response
        }
        let result = try await world.run()
        #expect(result.status.contains("sync failed with some errors"), "\(lie.name): \(result.log)")
        #expect(result.log.contains(lie.word), "\(lie.name): \(result.log)")
        #expect(result.log.contains("host/a/2024-06-01T00:00:00Z"), "\(lie.name): \(result.log)")
        #expect(try world.copied == ["host/b/2024-06-01T00:00:00Z"], "\(lie.name): \(result.log)")
        #expect(world.to.sessions.activeCount == 0)
    }

    @Test("never sets a good chunk aside on the word of a remote")
    func keepsGoodChunks() async throws {
        let world = try await SyncWorld()
        // The same content is here already, in a group of somebody else.
        var own = SampleBackup("host/own/2024-06-01T00:00:00Z", seed: 7)
        own.owner = SampleBackup.owner
        try own.run(in: world.to)
        try world.backUp("host/a/2024-06-01T00:00:00Z", seed: 7)
        world.lie { head, response in
            head.path == "/chunk" ? Self.bytes([0]) : response
        }
        let result = try await world.run()
        // Nothing of it was asked for but what differs in number of pieces.
        #expect(result.log.contains("host/a"), "\(result.log)")
        for piece in own.pieces {
            #expect(try world.to.chunks.byteCount(of: ChunkDigest(hashing: piece)) != nil)
        }
    }

    @Test("leaves groups of others alone")
    func owner() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-02T00:00:00Z")
        try SampleBackup("host/a/2024-06-01T00:00:00Z").run(in: world.to)
        try SampleBackup("host/other/2024-06-01T00:00:00Z").run(in: world.to)
        let result = try await world.run(.pull, ["remove-vanished": true])
        #expect(result.log.contains("belongs to tester@pbs, not to admin@pbs"), "\(result.log)")
        #expect(try world.copied == ["host/a/2024-06-01T00:00:00Z", "host/other/2024-06-01T00:00:00Z"])
    }

    @Test("does not put another backup in the place of one that is here")
    func otherContent() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z", seed: 1)
        var own = SampleBackup("host/a/2024-06-01T00:00:00Z", seed: 2)
        own.owner = try world.target.required(AuthID(parsing: "admin@pbs"))
        let manifest = try own.run(in: world.to)
        let result = try await world.run()
        #expect(result.log.contains("with another content"), "\(result.log)")
        #expect(try world.to.manifest(of: own.snapshot, in: .root).files == manifest.files)
    }

    @Test("takes over what changed beside the content")
    func notes() async throws {
        let world = try await SyncWorld()
        try world.backUp("host/a/2024-06-01T00:00:00Z")
        _ = try await world.run()
        let name = try #require(SnapshotName(parsing: "host/a/2024-06-01T00:00:00Z"))
        try world.from.setNotes("look here", of: name, in: .root)
        let chunks = world.loop.faults.withLock { $0.chunks }
        let result = try await world.run()
        #expect(result.status == "OK", "\(result.log)")
        #expect(try world.to.notes(of: name, in: .root) == "look here")
        #expect(world.loop.faults.withLock { $0.chunks } == chunks)
    }

    @Test("skips what is older than the newest snapshot here, and what transfer-last leaves out")
    func selection() async throws {
        let world = try await SyncWorld()
        for day in 1...4 { try world.backUp("host/a/2024-06-0\(day)T00:00:00Z", seed: UInt64(day)) }
        _ = try await world.run(.pull, ["transfer-last": 2])
        #expect(try world.copied == ["host/a/2024-06-03T00:00:00Z", "host/a/2024-06-04T00:00:00Z"])
        let result = try await world.run()
        #expect(result.log.contains("older than the newest snapshot here"), "\(result.log)")
        #expect(try world.copied.count == 2)
        let vanished = try #require(SnapshotName(parsing: "host/a/2024-06-03T00:00:00Z"))
        try world.from.removeSnapshot(vanished, in: .root)
        _ = try await world.run(.pull, ["remove-vanished": true])
        #expect(try world.copied == ["host/a/2024-06-04T00:00:00Z"])
    }
}

@Suite("A list of what has arrived")
struct ArrivalTests {
    @Test("survives closing and opening the store, and pins its chunks")
    func survives() throws {
        let test = try TestStore()
        let digest = ChunkDigest(hashing: [1, 2, 3])
        test.store.arrivals.open(":host/a/2024-06-01T00:00:00Z").pin(digest, length: 3, origin: .copied)
        try test.store.arrivals.keep(":host/a/2024-06-01T00:00:00Z")
        try test.store.close()
        let again = try Datastore.open(name: "test", at: test.path, options: TestStore.options)
        #expect(again.arrivals.keys == [":host/a/2024-06-01T00:00:00Z"])
        #expect(again.chunks.pins.isPinned(digest))
        again.arrivals.forget(":host/a/2024-06-01T00:00:00Z")
        #expect(!again.chunks.pins.isPinned(digest))
        try again.close()
        let last = try Datastore.open(name: "test", at: test.path, options: TestStore.options)
        #expect(last.arrivals.keys.isEmpty)
        try last.close()
    }
}

@Suite("A push")
struct PushTests {
    @Test("uploads through the backup protocol, and only what the remote does not know")
    func pushes() async throws {
        let world = try await SyncWorld()
        for (day, pieces) in [(1, 4), (2, 6)] {
            var backup = SampleBackup("host/a/2024-06-0\(day)T00:00:00Z", seed: 3, pieces: pieces)
            backup.owner = try world.target.required(AuthID(parsing: "admin@pbs"))
            try backup.run(in: world.to)
        }
        let first = try await world.run(.push)
        #expect(first.status == "OK", "\(first.log)")
        let there = try world.from.snapshots(in: .root).filter(\.isFinished).map { "\($0.name)" }
        #expect(there == ["host/a/2024-06-01T00:00:00Z", "host/a/2024-06-02T00:00:00Z"])
        // The second snapshot has the pieces of the first, which the remote's own base makes known.
        #expect(first.log.contains("in 8 chunks"), "\(first.log)")
        let second = try await world.run(.push)
        #expect(second.log.contains("found no new data to push"), "\(second.log)")
    }

    @Test("makes namespaces, and removes only own groups that vanished")
    func namespaces() async throws {
        let world = try await SyncWorld()
        _ = try world.to.createNamespace(try Namespace(parsing: "x"))
        var backup = SampleBackup("host/a/2024-06-01T00:00:00Z")
        backup.owner = try world.target.required(AuthID(parsing: "admin@pbs"))
        backup.namespace = try Namespace(parsing: "x")
        try backup.run(in: world.to)
        try SampleBackup("host/foreign/2024-06-01T00:00:00Z").run(in: world.from)
        try world.backUp("host/mine/2024-06-01T00:00:00Z")
        let result = try await world.run(.push, ["remove-vanished": true])
        #expect(result.status == "OK", "\(result.log)")
        let root = try world.from.groups(in: .root).map { "\($0.group)" }
        #expect(root == ["host/foreign"], "\(result.log)")
        #expect(try world.from.groups(in: try Namespace(parsing: "x")).map { "\($0.group)" } == ["host/a"])
    }
}

@Suite("A group filter")
struct GroupFilterTests {
    @Test("takes types, groups and patterns, and excludes whatever includes")
    func filters() throws {
        func take(_ filters: [String], _ group: String) throws -> Bool {
            try filters.map { try GroupFilter(parsing: $0) }.take(try #require(BackupGroup(parsing: group)))
        }
        #expect(try take([], "vm/100"))
        #expect(try take(["type:vm"], "vm/100"))
        #expect(try !take(["type:vm"], "ct/100"))
        #expect(try take(["include:group:ct/100", "type:vm"], "ct/100"))
        #expect(try take(["exclude:regex:^vm/1"], "ct/100"))
        #expect(try !take(["exclude:regex:^vm/1", "type:vm"], "vm/100"))
        #expect(try take(["regex:10+$"], "vm/100"))
    }

    @Test("refuses what is none", arguments: ["", "vm", "type:", "type:VM", "group:vm", "regex:(", "except:type:vm"])
    func refuses(_ text: String) {
        #expect(throws: BackupFailure.self) { try GroupFilter(parsing: text) }
    }
}

@Suite("An amount of bytes")
struct ByteAmountTests {
    @Test("reads units of any case")
    func reads() {
        #expect(ByteAmount.parse("10MiB") == 10 << 20)
        #expect(ByteAmount.parse("1.5 gb") == 1_500_000_000)
        #expect(ByteAmount.parse("77") == 77)
        for text in ["", "MB", "-1", "0", "1e30", "ten", "1 XB"] { #expect(ByteAmount.parse(text) == nil, "\(text)") }
    }

    @Test("is written with at most three digits behind the point")
    func writes() {
        #expect(ByteAmount.text(1023) == "1023 B")
        #expect(ByteAmount.text(1536) == "1.5 KiB")
        #expect(ByteAmount.text(1 << 30) == "1 GiB")
    }
}

/// A body without an end.
private struct Endless: ByteSource {
    func read(upTo maxBytes: Int) async throws -> [UInt8]? { [UInt8](repeating: 0, count: min(maxBytes, 1 << 20)) }
}

/// True the first time it is asked.
private final class Flag: Sendable {
    private let state = Mutex(true)

    func take() -> Bool {
        state.withLock { value in
            defer { value = false }
            return value
        }
    }
}
