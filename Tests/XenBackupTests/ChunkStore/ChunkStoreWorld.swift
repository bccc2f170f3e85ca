import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import CairnTestSupport
import Datastore
import Foundation
import Logging
import Platform
import StateDatabase
import Synchronization
import Tasks
import Testing
import VirtualDisks

@testable import XenBackup

/// A server's datastores, and the ways to use them as remotes of Xen Orchestra: directly, and through a remote that
/// stands for another server.
final class ChunkStoreWorld: Sendable {
    static let storeName = "main"
    static let machine = "0c9d2c2e-97c4-4d2a-9d1a-5f6a3f8a1b01"

    let folder: URL
    let fault = CountedFault()
    let access: AccessControl
    let registry: DatastoreRegistry
    let opener: SessionOpener
    let stores: ChunkStores
    let workers = WorkerPool(name: "sessions", width: 4)
    let database: StateDatabase

    init(lockPatience: Duration = .seconds(60)) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "cairn-xen-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var options = StoreOptions()
        options.syncLevel = .none
        options.makesPrefixFolders = false
        options.minimumFreeByteCount = 0
        options.beforeStep = fault.hook
        let path = folder.appending(path: "store").path
        try Datastore.create(name: Self.storeName, at: path, options: options)
        database = try StateDatabase(folder: StateFolder(path: folder.appending(path: "state").path))
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        access = try AccessControl(database: database, hashing: PasswordHasher(width: 1), time: .system, log: log)
        let tasks = try TaskRegistry(database: database, process: .current, time: .system, log: log)
        try database.write { try $0.put(DatastoreRecord(name: Self.storeName, path: path, properties: [:])) }
        registry = try DatastoreRegistry(database: database, options: options, roots: [], logger: log)
        opener = SessionOpener(tasks: tasks, workers: workers)
        let remotes = RemoteRegistry(database: database)
        try remotes.add("site2", ["host": "127.0.0.1", "auth-id": "root@pam"], password: "secret")
        stores = ChunkStores(
            stores: registry, sessions: opener, access: access, remotes: remotes,
            connector: Elsewhere(registry: registry, opener: opener, access: access), workers: workers, time: .system,
            scratchFolder: folder.appending(path: "scratch").path, logger: log, lockPatience: lockPatience)
    }

    deinit {
        registry.closeAll()
        workers.close()
        try? FileManager.default.removeItem(at: folder)
    }

    var store: Datastore { get throws { try registry.datastore(Self.storeName, for: .write) } }

    /// What the address says: `/chunkstore/main`, `/chunkstore/@site2/main`.
    func open(_ path: String = "/chunkstore/main") async throws -> any XenRepository {
        let address = try #require(try ChunkStoreAddress(path: path))
        return try await stores.open(address, remoteID: "remote-1", name: "store")
    }

    /// A task whose events nobody reads.
    static func task() -> TaskNode { TaskNode(id: "root", name: "backup run", tree: SilentTree()) }

    /// What is left of sessions on the disk.
    func staged() throws -> [String] {
        let path = folder.appending(path: "store/.cairn/sessions").path
        return FileManager.default.fileExists(atPath: path)
            ? try FileManager.default.contentsOfDirectory(atPath: path) : []
    }

    // MARK: Backups

    /// Backs a machine with these disks up.
    ///
    /// - Parameter disks: In the order of sending; of each its uuid, its state's uuid, and what comes.
    /// - Returns: The backup's id.
    @discardableResult
    func backup(
        _ disks: [SentDisk], in repository: any XenRepository, at timestamp: Int64, scheduleID: String = "sch-1",
        machine: String = ChunkStoreWorld.machine, retention: RetentionRule? = nil
    ) async throws -> String {
        let target = try await repository.target(for: machine)
        do {
            let bases = disks.compactMap { disk in disk.baseUUID.map { (disk.liveUUID, $0) } }
            let known = try await target.disksWithBase(
                Dictionary(bases, uniquingKeysWith: { first, _ in first }), jobID: "job-1")
            #expect(known == Set(bases.map(\.0)))
            let writer = try await target.begin(
                VMBackupPlan(mode: .delta, jobID: "job-1", scheduleID: scheduleID, timestamp: timestamp))
            do {
                for disk in disks { _ = try await writer.write(disk: disk.description, from: disk.source) }
                let id = try await writer.commit(
                    Self.metadata(disks, machine: machine, timestamp: timestamp, scheduleID: scheduleID))
                if let retention {
                    try await target.applyRetention(
                        retention, mode: .delta, scheduleID: scheduleID, isBefore: false, task: Self.task())
                }
                await target.release()
                return id
            } catch {
                await writer.abort()
                throw error
            }
        } catch {
            await target.release()
            throw error
        }
    }

    static func metadata(
        _ disks: [SentDisk], machine: String, timestamp: Int64, scheduleID: String, mode: String = "delta"
    ) -> VMBackupMetadata {
        var vdis: JSONObject = [:]
        for disk in disks {
            vdis[disk.reference] = [
                "uuid": .string(disk.uuid), "name_label": "disk", "$snapshot_of$uuid": .string(disk.liveUUID),
                "virtual_size": .integer(disk.source.size),
            ]
        }
        return VMBackupMetadata([
            "version": "2.0.0", "mode": .string(mode), "jobId": "job-1", "scheduleId": .string(scheduleID),
            "timestamp": .integer(timestamp), "vm": ["uuid": .string(machine), "name_label": "web1"],
            "vdis": .object(vdis),
        ])
    }

    /// The whole content of a disk of a backup.
    func restore(_ id: String, _ reference: String, in repository: any XenRepository) async throws -> [UInt8] {
        let reader = try await repository.openBackup(id)
        let view = try await reader.disk(reference)
        var bytes = [UInt8](repeating: 0, count: DiskGeometry.blockCount(view.size) * DiskGeometry.blockBytes)
        for index in try await view.presentBlocks() {
            let start = index * DiskGeometry.blockBytes
            let block = try await view.block(index)
            bytes.withUnsafeMutableBytes { all in
                UnsafeMutableRawBufferPointer(rebasing: all[start..<start + block.count]).copyBytes(from: block)
            }
        }
        await reader.close()
        return Array(bytes.prefix(Int(view.size)))
    }

    /// Removes chunks that nothing refers to, whatever their age, and verifies what is left.
    ///
    /// - Returns: What was found wrong.
    func collectAndVerify() async throws -> [String] {
        let store = try store
        return try await workers.run {
            let task = "UPID:test:00000001:00000001:00000001:65000000:test::root@pam:"
            _ = try store.reserveCollection().collect(task: task)
            return try store.snapshots(in: .root).filter(\.isFinished).flatMap { entry in
                let reader = try store.openReader(entry.name, in: .root, purpose: "a test")
                defer { reader.close() }
                return try SnapshotVerifier(store, task: task).verify(reader).errors
            }
        }
    }
}

/// Fails at the n-th step by which the store comes, once.
final class CountedFault: Sendable {
    private let state = Mutex<(visited: Int, failAt: Int?)>((0, nil))

    /// Counts from here; the step of that number fails, the first being 0.
    func arm(_ number: Int?) { state.withLock { $0 = (0, number) } }

    var visited: Int { state.withLock { $0.visited } }

    var hook: @Sendable (StoreStep) throws -> Void {
        { step in
            let fails = self.state.withLock { state in
                defer { state.visited += 1 }
                return state.failAt == state.visited
            }
            if fails { throw SystemError("fault", "injected at \(step)", code: 5) }
        }
    }
}

/// A disk as a backup sends it.
struct SentDisk: Sendable {
    let reference: String
    let liveUUID: String
    let uuid: String
    let baseUUID: String?
    let source: any DiskSource

    var description: VMBackupDisk {
        VMBackupDisk(reference: reference, liveUUID: liveUUID, uuid: uuid, baseUUID: baseUUID)
    }
}

struct SilentTree: TaskTreeSink {
    func start(_ name: String, _ properties: JSONObject, below parent: TaskNode) -> TaskNode {
        TaskNode(id: name, name: name, tree: self, parent: parent)
    }
    func emit(_ kind: TaskEvent.Kind, of task: TaskNode) {}
}

/// A disk whose content a test changes.
struct TestDisk: Sendable {
    static let block = DiskGeometry.blockBytes
    let liveUUID: String
    var bytes: [UInt8]
    private(set) var changed: Set<Int> = []
    /// Blocks that are not zeros.
    private var present: Set<Int> = []
    private(set) var generation = 0
    var previous: Int?

    /// Content that differs from block to block and from seed to seed.
    init(_ liveUUID: String, byteCount: Int, seed: UInt64) {
        self.init(liveUUID, zeros: byteCount)
        for index in 0..<DiskGeometry.blockCount(UInt64(byteCount)) { fill(index, seed: seed &* 1000 &+ UInt64(index)) }
        changed = []
    }

    /// Zeros.
    init(_ liveUUID: String, zeros byteCount: Int) {
        self.liveUUID = liveUUID
        bytes = [UInt8](repeating: 0, count: byteCount)
    }

    func uuid(_ generation: Int) -> String { "\(liveUUID)-state-\(generation)" }

    /// Writes random bytes into a block.
    mutating func change(_ index: Int, seed: UInt64) {
        fill(index, seed: seed)
    }

    /// A page of random bytes again and again: debug builds are slow.
    private mutating func fill(_ index: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let page = random.bytes(4096)
        let start = index * Self.block
        let end = min(bytes.count, start + Self.block)
        bytes.withUnsafeMutableBytes { all in
            for offset in stride(from: start, to: end, by: page.count) {
                UnsafeMutableRawBufferPointer(rebasing: all[offset..<min(end, offset + page.count)])
                    .copyBytes(from: page.prefix(end - offset))
            }
        }
        changed.insert(index)
        present.insert(index)
    }

    mutating func clear(_ index: Int) {
        let start = index * Self.block
        let end = min(bytes.count, start + Self.block)
        bytes.replaceSubrange(start..<end, with: [UInt8](repeating: 0, count: end - start))
        changed.insert(index)
        present.remove(index)
    }

    mutating func grow(to byteCount: Int) { bytes += [UInt8](repeating: 0, count: byteCount - bytes.count) }

    var presentBlocks: [Int] { present.sorted() }

    func blockBytes(_ index: Int) -> [UInt8] {
        let start = index * Self.block
        let part = bytes[start..<min(bytes.count, start + Self.block)]
        return Array(part) + [UInt8](repeating: 0, count: Self.block - part.count)
    }

    /// What a host sends: everything, or what changed since the last time.
    ///
    /// - Parameters:
    ///   - order: Of the blocks, if not ascending.
    ///   - announces: Whether the source knows what will come.
    mutating func send(isDelta: Bool = false, order: [Int]? = nil, announces: Bool = true) -> SentDisk {
        let indexes = order ?? (isDelta ? changed : present).sorted()
        let blocks = indexes.map { DiskBlock(index: $0, bytes: blockBytes($0)) }
        let base = isDelta ? generation : nil
        generation += 1
        changed = []
        return SentDisk(
            reference: "OpaqueRef:\(liveUUID)", liveUUID: liveUUID, uuid: uuid(generation),
            baseUUID: base.map { uuid($0) },
            source: BlockSource(
                blocks, size: UInt64(bytes.count), isDifferencing: isDelta, announces: announces))
    }
}

/// Blocks that are there already, as a transfer.
final class BlockSource: DiskSource {
    let size: UInt64
    let isDifferencing: Bool
    private let coming: Set<Int>?
    private let blocks: Mutex<[DiskBlock]>
    /// Fails after the last block.
    private let failure: (any Error)?

    init(
        _ blocks: [DiskBlock], size: UInt64, isDifferencing: Bool, announces: Bool = true, failure: (any Error)? = nil
    ) {
        self.size = size
        self.isDifferencing = isDifferencing
        self.failure = failure
        coming = announces ? Set(blocks.map(\.index)) : nil
        self.blocks = Mutex(blocks.reversed())
    }

    func nextBlock() async throws -> DiskBlock? {
        let block = blocks.withLock { $0.popLast() }
        if block == nil, let failure { throw failure }
        return block
    }

    func willCome(_ index: Int) -> Bool? { coming.map { $0.contains(index) } }
}

// MARK: - Another server

/// Answers as another server would that has the same datastores.
struct Elsewhere: RemoteConnector {
    let registry: DatastoreRegistry
    let opener: SessionOpener
    let access: AccessControl

    func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection { Connection(world: self) }

    final class Connection: RemoteConnection {
        let world: Elsewhere
        init(world: Elsewhere) { self.world = world }

        func call(_ method: String, _ path: String, _ parameters: JSONObject) async throws -> JSONValue {
            let parts = path.split(separator: "/").map { String($0) }
            let store = try world.registry.datastore(parts[2], for: .write)
            let namespace = try Namespace(parsing: parameters["ns"]?.stringValue ?? "")
            let type = parameters["backup-type"]?.stringValue.flatMap(BackupType.init(rawValue:))
            let group = type.flatMap { type in
                parameters["backup-id"]?.stringValue.flatMap { BackupGroup(type: type, id: $0) }
            }
            switch (method, parts[3]) {
            case ("GET", "status"):
                let space = try store.usage()
                return [
                    "total": .integer(space.total), "used": .integer(space.used), "avail": .integer(space.available),
                ]
            case ("GET", "snapshots"):
                return .array(
                    try store.snapshots(in: namespace, group: group).filter {
                        type == nil || $0.name.group.type == type
                    }
                    .map { entry in
                        [
                            "backup-type": .string(entry.name.group.type.rawValue),
                            "backup-id": .string(entry.name.group.id), "backup-time": .integer(entry.name.time),
                            "size": entry.isFinished ? 1 : nil, "protected": .bool(entry.isProtected),
                            "files": .array(
                                entry.files.map {
                                    ["filename": .string($0.name.name), "size": .integer($0.byteCount)]
                                }),
                        ]
                    })
            case ("DELETE", "snapshots"):
                let known = try #require(group)
                let name = try #require(
                    SnapshotName(group: known, time: parameters["backup-time"]?.intValue ?? 0))
                try store.removeSnapshot(name, in: namespace)
                return nil
            default: throw BackupFailure(.notFound, "no \(method) \(path) elsewhere")
            }
        }

        func open(_ protocolID: ProtocolID, _ request: OpenRequest) async throws -> any BackupTransport {
            let store = try world.registry.datastore(request.datastore, for: .write)
            let root = world.access.inProcessRoot()
            switch protocolID {
            case .backup:
                let grant = try world.access.grant(
                    .datastoreBackup, on: .datastore(request.datastore, request.namespace), to: root)
                return InProcessTransport(try await world.opener.openBackup(request, in: store, grant: grant))
            case .reader:
                let grant = try world.access.contentGrant(
                    full: .datastoreRead, partial: .datastoreBackup, store: request.datastore,
                    namespace: request.namespace, to: root)
                return InProcessTransport(try await world.opener.openReader(request, in: store, grant: grant))
            }
        }

        func close() async {}
    }
}
