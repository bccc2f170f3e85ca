import AccessControl
import BackupClient
import BackupFormats
import BackupProtocol
import BackupServer
import BlobEncryption
import Chunking
import Datastore
import Foundation
import Logging
import Platform
import StateDatabase
import Synchronization
import Tasks
import Testing

/// A server's sessions over a datastore in a folder of its own, and clients of it, without a network.
final class ClientWorld: Sendable {
    static let storeName = "store1"

    let folder: URL
    let store: Datastore
    private let access: AccessControl
    private let opener: SessionOpener
    private let workers = WorkerPool(name: "sessions", width: 4)

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "cairn-client-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var options = StoreOptions()
        options.syncLevel = .none
        options.makesPrefixFolders = false
        let path = folder.appending(path: "store").path
        try Datastore.create(name: Self.storeName, at: path, options: options)
        store = try Datastore.open(name: Self.storeName, at: path, options: options)
        let database = try StateDatabase(folder: StateFolder(path: folder.appending(path: "state").path))
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        access = try AccessControl(database: database, hashing: PasswordHasher(width: 1), time: .system, log: log)
        let tasks = try TaskRegistry(database: database, process: .current, time: .system, log: log)
        var settings = SessionSettings()
        settings.refusalDelay = .milliseconds(20)
        opener = SessionOpener(tasks: tasks, workers: workers, settings: settings)
    }

    deinit {
        workers.close()
        try? store.close()
        try? FileManager.default.removeItem(at: folder)
    }

    /// A path in this world's folder.
    func path(_ name: String) -> String { folder.appending(path: name).path }

    static func snapshot(_ day: Int) throws -> SnapshotName {
        let group = try #require(BackupGroup(type: .host, id: "client"))
        return try #require(SnapshotName(group: group, time: 1_700_000_000 + Int64(day) * 86400))
    }

    func openBackup(_ snapshot: SnapshotName) async throws -> RecordingTransport {
        let request = OpenRequest(datastore: Self.storeName, snapshot: snapshot)
        let grant = try access.grant(.datastoreBackup, on: .datastore(Self.storeName), to: access.inProcessRoot())
        return RecordingTransport(InProcessTransport(try await opener.openBackup(request, in: store, grant: grant)))
    }

    func openReader(_ snapshot: SnapshotName) async throws -> RecordingTransport {
        let request = OpenRequest(datastore: Self.storeName, snapshot: snapshot)
        let grant = try access.contentGrant(
            full: .datastoreRead, partial: .datastoreBackup, store: Self.storeName, namespace: .root,
            to: access.inProcessRoot())
        return RecordingTransport(InProcessTransport(try await opener.openReader(request, in: store, grant: grant)))
    }

    /// Backs `sources` up with small chunks.
    @discardableResult
    func backup(
        _ sources: [BackupSource], day: Int, protection: ContentProtection = .none, averageSize: Int = 64 << 10
    ) async throws -> BackupResult {
        let snapshot = try Self.snapshot(day)
        let transport = try await openBackup(snapshot)
        let notes = Mutex<[String]>([])
        let upload = SnapshotUpload(
            snapshot, transport: transport, protection: protection, warn: { note in notes.withLock { $0.append(note) } }
        )
        try await upload.loadPrevious()
        let job = BackupJob(sources: sources, chunker: try #require(Chunker(averageSize: averageSize)))
        do {
            let manifest = try await job.run(upload) { _ in }
            await transport.close()
            return BackupResult(
                manifest: manifest, statistics: upload.engine.counter.current, calls: transport.calls,
                notes: notes.withLock { $0 })
        } catch {
            await transport.close()
            throw error
        }
    }

    func restore<Value>(
        day: Int, key: EncryptionKey? = nil, acceptsUnsigned: Bool = false,
        _ body: (SnapshotDownload) async throws -> Value
    ) async throws -> Value {
        let snapshot = try Self.snapshot(day)
        let transport = try await openReader(snapshot)
        do {
            let download = try await SnapshotDownload.open(
                snapshot, transport: transport, key: key, acceptsUnsigned: acceptsUnsigned)
            let value = try await body(download)
            await transport.close()
            return value
        } catch {
            await transport.close()
            throw error
        }
    }
}

struct BackupResult: Sendable {
    let manifest: Manifest
    let statistics: UploadStatistics
    /// Method and path of each call, in order.
    let calls: [String]
    let notes: [String]
}

/// Remembers the calls, and breaks when told to.
final class RecordingTransport: BackupTransport {
    private struct State: Sendable {
        var calls: [String] = []
        /// Calls of this path fail from the n-th on.
        var broken: (path: String, after: Int)?
        var inFlight = 0
        var maxInFlight = 0
    }

    private let inner: InProcessTransport
    private let state = Mutex(State())

    init(_ inner: InProcessTransport) { self.inner = inner }

    var calls: [String] { state.withLock { $0.calls } }
    var maxInFlight: Int { state.withLock { $0.maxInFlight } }

    func breakAt(_ path: String, after count: Int) { state.withLock { $0.broken = (path, count) } }

    func send(_ request: BackupRequest) async throws -> BackupResponse {
        let isBroken = state.withLock { state in
            state.calls.append("\(request.head.method) \(request.head.path)")
            state.inFlight += 1
            state.maxInFlight = max(state.maxInFlight, state.inFlight)
            guard let (path, count) = state.broken else { return false }
            return state.calls.count { $0.hasSuffix(" " + path) } > count
        }
        defer { state.withLock { $0.inFlight -= 1 } }
        if isBroken {
            await inner.cut(reason: "test")
            throw BackupFailure(.unavailable, "the connection was cut")
        }
        return try await inner.send(request)
    }

    func close() async { await inner.close() }
}
