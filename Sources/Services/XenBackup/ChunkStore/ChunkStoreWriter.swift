import BackupClient
import BackupFormats
import BackupProtocol
import Synchronization
import VirtualDisks

/// A backup while it is sent into a datastore: one session, one snapshot, which nobody sees before it is finished.
final class ChunkStoreWriter: VMBackupWriter {
    /// Bytes that chunks of one machine on their way may hold.
    static let memoryLimit = 48 << 20

    private struct Disk: Sendable {
        let disk: VMBackupDisk
        let archive: ArchiveName
        let isDifferencing: Bool
    }

    private struct State: Sendable {
        var disks: [Disk] = []
        var byteCount: UInt64 = 0
        /// Disks of a full backup, by their ids in its description.
        var machineDisks: [(id: String, archive: ArchiveName)] = []
    }

    private let plan: VMBackupPlan
    private let target: ChunkStoreTarget
    private let base: ChosenBase?
    private let baseReader: BaseReader?
    private let upload: SnapshotUpload
    private let transport: any BackupTransport
    private let state = Mutex(State())

    private var stores: ChunkStores { target.repository.stores }
    private var address: ChunkStoreAddress { target.repository.connection.address }

    init(
        _ plan: VMBackupPlan, target: ChunkStoreTarget, base: ChosenBase?, upload: SnapshotUpload,
        transport: any BackupTransport
    ) {
        self.plan = plan
        self.target = target
        self.base = base
        self.upload = upload
        self.transport = transport
        let connection = target.repository.connection
        baseReader = base.map { base in BaseReader(base.snapshot, connection) }
    }

    // MARK: Disks

    func write(disk: VMBackupDisk, from source: any DiskSource) async throws -> UInt64 {
        let archive = try XenArchive.disk(disk.liveUUID, isMemory: disk.isMemory)
        var previous: PreviousImage?
        var content: ImageReader?
        if source.isDifferencing {
            guard let baseUUID = disk.baseUUID, let base = base?.disk(disk.liveUUID, at: baseUUID),
                let found = try await upload.previousImage(base.archive), base.archive == archive, let baseReader
            else {
                throw BackupFailure(
                    .conflict, "\(address.label) does not have what disk \(disk.liveUUID) is a difference to",
                    hints: ["Send the disk whole."])
            }
            previous = found
            content = try await baseReader.image(archive)
        }
        let image = try await upload.beginImage(archive, size: source.size, base: previous)
        let transfer = ImageAssembly(
            source: source, image: image, base: content,
            stock: HalfStock(folder: stores.scratchFolder, workers: stores.workers))
        let blocks: Int
        do {
            blocks = try await transfer.run()
        } catch {
            upload.engine.abort(error)
            await image.waitUntilIdle()
            throw error
        }
        _ = try await upload.finish(image)
        let byteCount = UInt64(blocks) * UInt64(DiskGeometry.blockBytes)
        state.withLock { state in
            state.disks.append(Disk(disk: disk, archive: archive, isDifferencing: source.isDifferencing))
            state.byteCount += byteCount
        }
        return byteCount
    }

    // MARK: Machines

    func write(xva: any ByteSource, maxByteCount: UInt64) async throws -> UInt64 {
        let result = try await MachineUpload(upload: upload).run(xva)
        state.withLock { state in
            state.machineDisks = result.archives
            state.byteCount += result.byteCount
        }
        return result.byteCount
    }

    // MARK: The end

    func commit(_ metadata: VMBackupMetadata) async throws -> String {
        let snapshot = upload.snapshot
        let content = describe(metadata.json, snapshot)
        try await upload.sendBlob(XenArchive.metadata, content: Array(JSONValue.object(content).compactText.utf8))
        _ = try await upload.finish()
        await end()
        await target.committed()
        return VirtualNames.backupID(snapshot)
    }

    /// The metadata with what only this writer knows. (Spec: xo-proxy §4.6, §10.4.)
    private func describe(_ given: JSONObject, _ snapshot: SnapshotName) -> JSONObject {
        let state = state.withLock { $0 }
        var content = given
        var archives: JSONObject = [:]
        switch plan.mode {
        case .full:
            content["xva"] = .string("./\(VirtualNames.date(snapshot.time)).xva")
            for disk in state.machineDisks { archives[disk.id] = .string(disk.archive.name) }
        case .delta:
            var paths: JSONObject = [:]
            var isDifferencing: JSONObject = [:]
            for item in state.disks {
                let reference = item.disk.reference
                paths[reference] = .string(VirtualNames.disk(item.disk, jobID: plan.jobID, snapshot))
                isDifferencing[reference] = .bool(item.isDifferencing)
                archives[reference] = .string(item.archive.name)
            }
            content["vhds"] = .object(paths)
            content["isVhdDifferencing"] = .object(isDifferencing)
        }
        content["size"] = .integer(state.byteCount)
        let counts = upload.engine.counter.current
        content["chunkStore"] = [
            "datastore": .string(address.datastore), "namespace": .string("\(address.namespace)"),
            "snapshot": .string("\(snapshot)"), "archives": .object(archives),
            "newChunks": .integer(counts.sentChunks - counts.duplicateChunks),
            "newBytes": .integer(counts.encodedBytes - counts.duplicateEncodedBytes),
            "reusedChunks": .integer(counts.knownChunks + counts.duplicateChunks),
        ]
        return content
    }

    func abort() async {
        upload.engine.abort(BackupFailure(.cancelled, "The backup was given up"))
        await end()
    }

    private func end() async {
        await baseReader?.close()
        await transport.close()
    }
}

/// The base of a delta, opened for reading when the first half of a chunk needs it.
actor BaseReader {
    private let snapshot: SnapshotName
    private let connection: any ChunkStoreConnection
    private var opening: Task<(SnapshotDownload, any BackupTransport), any Error>?

    init(_ snapshot: SnapshotName, _ connection: any ChunkStoreConnection) {
        self.snapshot = snapshot
        self.connection = connection
    }

    func image(_ archive: ArchiveName) async throws -> ImageReader {
        let (download, _) = try await opened()
        guard let file = download.manifest.file(archive) else {
            throw BackupFailure(.corruptData, "\(snapshot) has no archive \(archive)")
        }
        return try await download.openImage(file, isForward: false)
    }

    private func opened() async throws -> (SnapshotDownload, any BackupTransport) {
        if let opening { return try await opening.value }
        // Ends by itself; `close` waits for it.
        let task = Task { [snapshot, connection] in
            let transport = try await connection.openReader(snapshot)
            do {
                return (try await SnapshotDownload.open(snapshot, transport: transport, key: nil), transport)
            } catch {
                await transport.close()
                throw error
            }
        }
        opening = task
        return try await task.value
    }

    func close() async {
        if let opened = try? await opening?.value { await opened.1.close() }
    }
}
