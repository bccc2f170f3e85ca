import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import BlobCoding
import Datastore
import Foundation
import Logging
import Platform
import StateDatabase
import Synchronization
import Tasks
import Testing

/// A server's sessions over a datastore in a folder of its own, without a network.
final class SessionWorld: Sendable {
    static let storeName = "store1"

    let folder: URL
    let store: Datastore
    let access: AccessControl
    let tasks: TaskRegistry
    let opener: SessionOpener
    let root: Identity
    /// Steps of the store that fail as long as they are in here.
    let failing: Failing
    let workers: WorkerPool

    final class Failing: Sendable {
        private let steps = Mutex<Set<StoreStep>>([])
        func set(_ steps: Set<StoreStep>) { self.steps.withLock { $0 = steps } }
        func check(_ step: StoreStep) throws {
            if steps.withLock({ $0.contains(step) }) { throw BackupFailure(.storageFull, "injected at \(step)") }
        }
    }

    /// - Parameter verifiesNew: The datastore's setting `verify-new`.
    init(
        minimumFreeByteCount: Int64? = nil, verifiesNew: Bool = false,
        _ change: (inout SessionSettings) -> Void = { _ in }
    ) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "cairn-sessions-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let failing = Failing()
        self.failing = failing
        var options = StoreOptions()
        options.syncLevel = .none
        options.makesPrefixFolders = false
        options.minimumFreeByteCount = minimumFreeByteCount
        options.beforeStep = { try failing.check($0) }
        let path = folder.appending(path: "store").path
        try Datastore.create(name: Self.storeName, at: path, options: options)
        store = try Datastore.open(name: Self.storeName, at: path, options: options)
        let database = try StateDatabase(folder: StateFolder(path: folder.appending(path: "state").path))
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        access = try AccessControl(database: database, hashing: PasswordHasher(width: 1), time: .system, log: log)
        tasks = try TaskRegistry(database: database, process: .current, time: .system, log: log)
        root = access.inProcessRoot()
        workers = WorkerPool(name: "sessions", width: 4)
        var settings = SessionSettings()
        settings.refusalDelay = .milliseconds(20)
        change(&settings)
        try database.write {
            try $0.put(
                DatastoreRecord(name: Self.storeName, path: path, properties: ["verify-new": .bool(verifiesNew)]))
        }
        let verification = NewSnapshotVerification(
            stores: try DatastoreRegistry(database: database, roots: [], logger: log), tasks: tasks, workers: workers)
        opener = SessionOpener(tasks: tasks, workers: workers, settings: settings) { verification.take($0) }
    }

    deinit {
        workers.close()
        try? store.close()
        try? FileManager.default.removeItem(at: folder)
    }

    static func snapshot(_ id: String, _ time: Int64) throws -> SnapshotName {
        let group = try #require(BackupGroup(type: .host, id: id))
        return try #require(SnapshotName(group: group, time: time))
    }

    /// Opens a backup session as root.
    func backup(
        _ id: String = "web1", _ time: Int64 = 1_700_000_000, benchmark: Bool = false, revealsDuplicates: Bool = false
    ) async throws -> SessionClient {
        let snapshot = try Self.snapshot(id, time)
        let request = OpenRequest(datastore: Self.storeName, snapshot: snapshot, isBenchmark: benchmark)
        let grant = try access.grant(.datastoreBackup, on: .datastore(Self.storeName), to: root)
        let handler = try await opener.openBackup(
            request, in: store, grant: grant, revealsDuplicates: revealsDuplicates)
        return SessionClient(handler, snapshot)
    }

    func reader(_ id: String = "web1", _ time: Int64 = 1_700_000_000) async throws -> SessionClient {
        let snapshot = try Self.snapshot(id, time)
        let grant = try access.contentGrant(
            full: .datastoreRead, partial: .datastoreBackup, store: Self.storeName, namespace: .root, to: root)
        let handler = try await opener.openReader(
            OpenRequest(datastore: Self.storeName, snapshot: snapshot), in: store, grant: grant)
        return SessionClient(handler, snapshot)
    }

    /// Finished snapshots of a group.
    func published(_ id: String = "web1") throws -> [Int64] {
        try store.snapshots(in: .root, group: BackupGroup(type: .host, id: id))
            .filter { $0.isFinished && $0.runningTask == nil }.map(\.name.time).sorted()
    }

    /// The task of the only running backup.
    func runningTask() throws -> UPID {
        let running = try #require(store.sessions.running().first)
        return try UPID(parsing: running.task)
    }

    /// What is left of sessions on the disk.
    func staged() throws -> [String] {
        let path = folder.appending(path: "store/.cairn/sessions").path
        return FileManager.default.fileExists(atPath: path)
            ? try FileManager.default.contentsOfDirectory(atPath: path) : []
    }

    /// How the tasks of a type have ended, in the order in which they began. Those of open backups are left out.
    func statuses(_ type: String) async throws -> [String] {
        var filter = TaskFilter()
        filter.limit = 0
        let open = Set(store.sessions.running().map(\.task))
        var upids: [UPID] = []
        for task in try tasks.list(filter, isVisible: { $0.upid.workerType == type }).tasks
        where !open.contains("\(task.upid)") {
            await tasks.waitUntilStopped(task.upid)
            upids.append(task.upid)
        }
        return try upids.sorted { $0.taskID < $1.taskID }.compactMap { try tasks.info($0)?.status }
    }
}

/// One end of a session, as a client has it.
final class SessionClient: Sendable {
    let transport: InProcessTransport
    let snapshot: SnapshotName

    init(_ handler: any SessionHandler, _ snapshot: SnapshotName) {
        transport = InProcessTransport(handler)
        self.snapshot = snapshot
    }

    struct Answer: Sendable {
        let status: Int
        let contentType: String?
        let bytes: [UInt8]
        var text: String { String(decoding: bytes, as: UTF8.self) }
    }

    func send(_ request: BackupRequest) async throws -> Answer {
        let response = try await transport.send(request)
        return Answer(
            status: response.status, contentType: response.contentType,
            bytes: try await response.collect(limit: 32 << 20))
    }

    /// Makes a call and gives status and text.
    @discardableResult
    func call(_ call: BackupCall, data: [UInt8] = []) async throws -> Answer {
        try await send(BackupRequest(call, data: data))
    }

    func call(_ call: ReaderCall) async throws -> Answer { try await send(BackupRequest(call)) }

    /// Makes a call that must succeed.
    @discardableResult
    func must(_ call: BackupCall, data: [UInt8] = [], sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> Answer
    {
        let answer = try await self.call(call, data: data)
        #expect(answer.status == 200, "\(call): \(answer.text)", sourceLocation: sourceLocation)
        return answer
    }

    func upload(_ content: [UInt8], to writer: Int, _ kind: WriterKind = .dynamic, compress: Bool = true) async throws
        -> Answer
    {
        let blob = try BlobEncoder().encode(content, compress: compress)
        return try await call(
            .uploadChunk(
                kind,
                ChunkUpload(
                    writer: writer, digest: ChunkDigest(hashing: content), size: content.count, encodedSize: blob.count)
            ),
            data: blob)
    }

    /// Uploads an archive of these chunks and gives its entry in the manifest.
    func archive(_ name: String, _ chunks: [[UInt8]]) async throws -> JSONValue {
        let writer = try await must(.openDynamicIndex(name: name)).writerID
        var table: [UInt8] = []
        var offsets: [UInt64] = []
        var end: UInt64 = 0
        for chunk in chunks {
            let answer = try await upload(chunk, to: writer)
            #expect(answer.status == 200, "\(answer.text)")
            offsets.append(end)
            end += UInt64(chunk.count)
            table.appendLittleEndian(end)
            ChunkDigest(hashing: chunk).append(to: &table)
        }
        try await must(
            .append(
                .dynamic,
                ChunkAppend(writer: writer, digests: chunks.map { ChunkDigest(hashing: $0) }, offsets: offsets)))
        let checksum = "\(ChunkDigest(hashing: table))"
        try await must(
            .close(
                .dynamic, IndexClose(writer: writer, chunkCount: UInt64(chunks.count), size: end, checksum: checksum)))
        return Self.file(name, Int(end), checksum)
    }

    /// Uploads a blob and gives its entry in the manifest.
    func blob(_ name: String, _ content: [UInt8]) async throws -> JSONValue {
        let blob = try BlobEncoder().encode(content, compress: false)
        try await must(.uploadBlob(name: name, encodedSize: blob.count), data: blob)
        return Self.file(name, blob.count, "\(ChunkDigest(hashing: blob))")
    }

    func manifest(_ files: [JSONValue]) async throws {
        let manifest: JSONValue = [
            "backup-type": .string(snapshot.group.type.rawValue), "backup-id": .string(snapshot.group.id),
            "backup-time": .integer(snapshot.time), "files": .array(files), "unprotected": [:], "signature": nil,
        ]
        let blob = try BlobEncoder().encode(Array(manifest.compactText.utf8), compress: true)
        try await must(.uploadBlob(name: "index.json.blob", encodedSize: blob.count), data: blob)
    }

    /// A whole small backup.
    func small(_ content: String = "hello") async throws {
        let file = try await blob("a.conf.blob", Array(content.utf8))
        try await manifest([file])
        try await must(.finish)
        await transport.close()
    }

    static func file(_ name: String, _ size: Int, _ checksum: String) -> JSONValue {
        ["filename": .string(name), "crypt-mode": "none", "size": .integer(size), "csum": .string(checksum)]
    }
}

extension SessionClient.Answer {
    var data: JSONValue? { (try? JSONValue(parsing: bytes))?["data"] }
    var writerID: Int { Int(data?.intValue ?? -1) }
}

/// Chunks of different content.
enum Chunks {
    static func make(_ count: Int, size: Int = 1000, seed: UInt8 = 0) -> [[UInt8]] {
        (0..<count).map { number in
            var chunk = [UInt8](repeating: seed, count: size + number)
            withUnsafeBytes(of: number) { chunk.replaceSubrange(0..<8, with: $0) }
            return chunk
        }
    }
}
