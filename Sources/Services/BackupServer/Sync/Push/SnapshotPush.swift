import BackupFormats
import BackupProtocol
import Datastore
import Platform
import Tasks

/// Everything that a push works with.
struct PushContext: Sendable {
    let request: SyncRequest
    /// The source.
    let store: Datastore
    let local: LocalSource
    let catalog: RemoteCatalog
    let remote: RemoteTarget
    let task: RunningTask
    let workers: WorkerPool
    let policy: SyncPolicy
    let statistics: SyncStatistics
}

/// Uploads one snapshot to a remote by the backup protocol. (Spec: protocol C.5.)
struct SnapshotPush: Sendable {
    let context: PushContext
    let snapshot: SnapshotName
    /// Here.
    let namespace: Namespace
    /// At the remote.
    let target: Namespace

    private var task: RunningTask { context.task }

    /// - Throws: ``BackupFailure``; the remote then has no such snapshot.
    func run() async throws {
        task.log("sync snapshot \(snapshot)")
        var attempt = 1
        while true {
            do {
                try await pushOnce()
                return
            } catch let failure as BackupFailure where failure.kind == .unavailable && attempt < context.policy.attempts
            {
                task.log("\(failure)")
                task.log("beginning \(snapshot) again; the remote finds what it has as duplicates")
                try task.checkAborted()
                try await Task.sleep(for: context.policy.pause * attempt)
                attempt += 1
            }
        }
    }

    private func pushOnce() async throws {
        let (store, namespace, snapshot, upid) = (context.store, namespace, snapshot, task.upid)
        let reader = try await context.workers.run {
            try store.openReader(snapshot, in: namespace, purpose: "the synchronisation of task \(upid)")
        }
        defer { reader.close() }
        let (manifest, bytes) = try await context.workers.run {
            let bytes = try reader.blob(.manifest)
            do { return (try Manifest(blob: bytes), bytes) } catch {
                throw BackupFailure(.corruptData, "The manifest of \(snapshot) cannot be read", cause: error)
            }
        }
        let request = OpenRequest(datastore: context.request.remoteStore, namespace: target, snapshot: snapshot)
        let transport = try await within(context.policy.patience) { [context] in
            try await context.remote.connection.open(.backup, request)
        }
        let link = SessionLink(transport: transport, patience: context.policy.patience)
        do {
            try await upload(manifest, bytes, reader, link)
            await transport.close()
        } catch {
            await transport.close()
            throw error
        }
        context.statistics.add { $0.copied += 1 }
        task.log("sync snapshot \(snapshot) done")
    }

    private func upload(
        _ manifest: Manifest, _ manifestBytes: [UInt8], _ reader: SnapshotReader, _ link: SessionLink
    ) async throws {
        let known = KnownAtRemote(link: link, snapshot: snapshot)
        let previous = try await known.manifest()
        for file in manifest.files {
            try task.checkAborted()
            task.log("sync archive \(file.name)")
            if file.name.kind == .blob {
                try await uploadBlob(file.name, try await blob(file.name, reader), link)
                continue
            }
            if previous?.file(file.name) != nil { try await known.learn(file.name) }
            let index = try await context.workers.run { try reader.openIndex(file.name) }
            let upload = IndexPush(
                context: context, link: link, index: index, known: known.chunks,
                place: "\(file.name) of \(snapshot)")
            try await upload.run(expecting: file)
        }
        if manifest.file(.clientLog) == nil, let log = try? await blob(.clientLog, reader) {
            try await uploadBlob(.clientLog, log, link)
        }
        try await uploadBlob(.manifest, manifestBytes, link)
        try await link.call(BackupRequest(.finish), trying: "The remote does not finish \(snapshot)")
    }

    private func blob(_ name: ArchiveName, _ reader: SnapshotReader) async throws -> [UInt8] {
        try await context.workers.run { try reader.blob(name) }
    }

    private func uploadBlob(_ name: ArchiveName, _ blob: [UInt8], _ link: SessionLink) async throws {
        try await link.call(
            BackupRequest(.uploadBlob(name: name.name, encodedSize: blob.count), data: blob),
            trying: "\(name) of \(snapshot) cannot be uploaded")
        context.statistics.add { $0.bytes += blob.count }
    }
}

/// The remote's own base of the snapshot, and the chunks that it knows by it.
private final class KnownAtRemote: Sendable {
    let link: SessionLink
    let snapshot: SnapshotName
    /// May be appended without being uploaded.
    let chunks = InUseSet()

    init(link: SessionLink, snapshot: SnapshotName) {
        self.link = link
        self.snapshot = snapshot
    }

    /// The manifest of the base; nil where there is none that could be read.
    func manifest() async throws -> Manifest? {
        guard let blob = try await previous(.manifest, limit: BlobLimits.encodedBlob.upperBound) else { return nil }
        return try? Manifest(blob: blob)
    }

    /// Takes the chunks of the base's index as known. What cannot be read is uploaded instead.
    func learn(_ name: ArchiveName) async throws {
        guard let file = try await previous(name, limit: Self.indexLimit) else { return }
        switch name.kind {
        case .fixedIndex:
            guard let index = try? FixedIndex(parsing: file) else { return }
            for place in 0..<index.count {
                chunks.pin(index.digest(at: place), length: index.range(at: place).count, origin: .previous)
            }
        case .dynamicIndex:
            guard let index = try? DynamicIndex(parsing: file) else { return }
            for place in 0..<index.count {
                chunks.pin(index.digest(at: place), length: index.range(at: place).count, origin: .previous)
            }
        case .blob: return
        }
    }

    /// Bytes of an index of the base that are read into memory at most.
    private static let indexLimit = 256 << 20

    private func previous(_ name: ArchiveName, limit: Int) async throws -> [UInt8]? {
        let what = "\(name) of the snapshot before \(snapshot) cannot be read"
        let response = try await link.send(BackupRequest(.previous(name: name.name)), trying: what)
        guard response.status == 200 else { return nil }
        do { return try await link.collect(response, limit: limit, trying: what) } catch let failure as BackupFailure
            where failure.kind == .corruptData
        { return nil }
    }
}
