import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import Synchronization
import Tasks
import Testing

@Suite("A session that fails")
struct SessionFaultTests {
    /// The calls of a small backup, one after the other.
    static let steps = 7

    static func run(_ session: SessionClient, steps: Int) async throws {
        let content = [UInt8](repeating: 3, count: 200)
        var table: [UInt8] = []
        table.appendLittleEndian(UInt64(200))
        ChunkDigest(hashing: content).append(to: &table)
        let checksum = "\(ChunkDigest(hashing: table))"
        var files: [JSONValue] = []
        for step in 0..<steps {
            switch step {
            case 0: try await session.must(.openDynamicIndex(name: "a.didx"))
            case 1: _ = try await session.upload(content, to: 1)
            case 2:
                try await session.must(
                    .append(.dynamic, ChunkAppend(writer: 1, digests: [ChunkDigest(hashing: content)], offsets: [0])))
            case 3:
                try await session.must(
                    .close(.dynamic, IndexClose(writer: 1, chunkCount: 1, size: 200, checksum: checksum)))
                files.append(SessionClient.file("a.didx", 200, checksum))
            case 4: files.append(try await session.blob("a.conf.blob", [1]))
            case 5: try await session.manifest(files)
            default: try await session.must(.finish)
            }
        }
    }

    @Test("by losing its connection leaves nothing of the snapshot, whenever it happens", arguments: 0...steps)
    func disconnect(after steps: Int) async throws {
        let world = try SessionWorld()
        let neighbour = try await world.backup("other", 1)
        let session = try await world.backup()
        try await Self.run(session, steps: steps)
        await session.transport.cut(reason: "the line was cut")
        let isFinished = steps == Self.steps
        #expect(try world.published() == (isFinished ? [1_700_000_000] : []))
        #expect(try await world.statuses("backup").contains(isFinished ? "OK" : "connection error: the line was cut"))
        #expect(world.store.sessions.running().map(\.snapshot) == [neighbour.snapshot])
        #expect(world.opener.sessionCount == 1)

        try await neighbour.small()
        #expect(try world.published("other") == [1])
        let next = try await world.backup("web1", 1_700_000_001)
        try await next.small()
        #expect(try world.published().last == 1_700_000_001)
        #expect(try world.staged() == [])
    }

    @Test(
        "in the store while it finishes publishes nothing, and may finish when the store works again",
        arguments: [
            StoreStep.finishCheck, .manifestRewrite, .groupFolder, .ownerWrite, .publishRename,
        ])
    func finishFault(_ step: StoreStep) async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        try await Self.run(session, steps: Self.steps - 1)
        world.failing.set([step])
        let answer = try await session.call(.finish)
        #expect(answer.status == 400)
        #expect(answer.text.contains("injected"))
        #expect(try world.published() == [])
        world.failing.set([])
        try await session.must(.finish)
        #expect(try world.published() == [1_700_000_000])
        await session.transport.close()
        #expect(try await world.statuses("backup") == ["OK"])
    }

    @Test(
        "in the store while it uploads gets an answer, and leaves nothing",
        arguments: [
            (StoreStep.chunkWrite, 1), (.chunkRename, 1), (.indexCreate, 0), (.indexClose, 3), (.indexRename, 3),
            (.blobWrite, 4),
        ])
    func uploadFault(_ step: StoreStep, _ steps: Int) async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        try await Self.run(session, steps: steps)
        world.failing.set([step])
        let answer: SessionClient.Answer
        switch steps {
        case 0: answer = try await session.call(.openDynamicIndex(name: "a.didx"))
        case 1: answer = try await session.upload([UInt8](repeating: 3, count: 200), to: 1)
        case 3:
            var table: [UInt8] = []
            table.appendLittleEndian(UInt64(200))
            ChunkDigest(hashing: [UInt8](repeating: 3, count: 200)).append(to: &table)
            answer = try await session.call(
                .close(
                    .dynamic,
                    IndexClose(writer: 1, chunkCount: 1, size: 200, checksum: "\(ChunkDigest(hashing: table))")))
        default:
            answer = try await session.call(
                .uploadBlob(name: "a.blob", encodedSize: 12),
                data: [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1, 0, 0, 0, 0])
        }
        #expect(answer.status == 400)
        #expect(answer.text.contains("injected"))
        world.failing.set([])
        await session.transport.cut(reason: "gave up")
        #expect(try world.published() == [])
        #expect(try world.staged() == [])
        try await world.backup("web1", 1_700_000_001).small()
    }

    @Test("to open gives everything back")
    func openFault() async throws {
        let world = try SessionWorld()
        world.failing.set([.stageFolder])
        await #expect(throws: BackupFailure.self) { _ = try await world.backup() }
        world.failing.set([])
        try await world.backup().small()
        #expect(world.opener.sessionCount == 0)
        #expect(try world.staged() == [])
    }

    @Test("because its task was aborted closes the connection")
    func abort() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        try await Self.run(session, steps: 3)
        let upid = try world.runningTask()
        #expect(world.tasks.abort(upid))
        await session.transport.close()
        await world.tasks.waitUntilStopped(upid)
        await #expect(throws: BackupFailure.self) { try await session.call(.finish) }
        #expect(try await world.statuses("backup") == ["task aborted"])
        #expect(try world.published() == [])
        #expect(try world.staged() == [])
    }

    @Test("to get a connection before it is aborted closes the one that comes later")
    func earlyAbort() async throws {
        let world = try SessionWorld()
        let handler = try await world.opener.openBackup(
            OpenRequest(datastore: SessionWorld.storeName, snapshot: SessionWorld.snapshot("web1", 1)), in: world.store,
            grant: world.access.grant(.datastoreBackup, on: .datastore(SessionWorld.storeName), to: world.root))
        let upid = try world.runningTask()
        world.tasks.abort(upid)
        let transport = InProcessTransport(handler)
        await transport.close()
        #expect(try world.staged() == [])
    }

    @Test("by being dropped before it had a connection gives its group back")
    func dropped() async throws {
        let world = try SessionWorld()
        do {
            let snapshot = try SessionWorld.snapshot("web1", 1)
            _ = try await world.opener.openBackup(
                OpenRequest(datastore: SessionWorld.storeName, snapshot: snapshot), in: world.store,
                grant: world.access.grant(.datastoreBackup, on: .datastore(SessionWorld.storeName), to: world.root))
        }
        // Whoever worked on the opening may hold the session for another moment.
        for _ in 0..<6000 where world.opener.sessionCount + world.store.sessions.activeCount > 0 {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(world.opener.sessionCount == 0)
        try await world.backup().small()
    }

    @Test("since the server stops is cleaned up, and no other begins")
    func shutdown() async throws {
        let world = try SessionWorld()
        let sessions = try await [world.backup("a"), world.backup("b")]
        try await Self.run(sessions[0], steps: 3)
        await world.opener.shutDown()
        #expect(try world.staged() == [])
        #expect(try world.published("a") == [])
        await #expect(throws: BackupFailure.self) { _ = try await world.backup("c") }
    }

    @Test("in some calls says so in its task's log")
    func log() async throws {
        let world = try SessionWorld()
        let session = try await world.backup()
        try await session.call(.openDynamicIndex(name: "x"))
        let upid = try world.runningTask()
        await session.transport.close()
        await world.tasks.waitUntilStopped(upid)
        let log = String(decoding: try #require(try world.tasks.wholeLog(upid)), as: UTF8.self)
        #expect(log.contains("POST /dynamic_index: 400 wrong archive extension: 'x'"))
    }
}

@Suite("Many sessions")
struct ManySessionsTests {
    @Test("work side by side, each with many uploads under way")
    func parallel() async throws {
        let world = try SessionWorld()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<12 {
                group.addTask {
                    let session = try await world.backup("host\(number)")
                    let writer = try await session.must(.openDynamicIndex(name: "a.didx")).writerID
                    let chunks = Chunks.make(40, size: 300, seed: UInt8(number % 3))
                    try await withThrowingTaskGroup(of: Int.self) { uploads in
                        for chunk in chunks { uploads.addTask { try await session.upload(chunk, to: writer).status } }
                        for try await status in uploads { #expect(status == 200) }
                    }
                    var table: [UInt8] = []
                    var (end, offsets) = (UInt64(0), [UInt64]())
                    for chunk in chunks {
                        offsets.append(end)
                        end += UInt64(chunk.count)
                        table.appendLittleEndian(end)
                        ChunkDigest(hashing: chunk).append(to: &table)
                    }
                    try await session.must(
                        .append(
                            .dynamic,
                            ChunkAppend(
                                writer: writer, digests: chunks.map { ChunkDigest(hashing: $0) }, offsets: offsets)))
                    let checksum = "\(ChunkDigest(hashing: table))"
                    try await session.must(
                        .close(.dynamic, IndexClose(writer: writer, chunkCount: 40, size: end, checksum: checksum)))
                    try await session.manifest([SessionClient.file("a.didx", Int(end), checksum)])
                    // Every third is cut off before its end.
                    if number % 3 == 0 { return await session.transport.cut(reason: "cut") }
                    try await session.must(.finish)
                    await session.transport.close()
                }
            }
            try await group.waitForAll()
        }
        for number in 0..<12 { #expect(try world.published("host\(number)").isEmpty == (number % 3 == 0)) }
        #expect(try world.staged() == [])
        #expect(world.opener.sessionCount == 0)
    }
}
