import BackupFormats
import BackupProtocol
import BlobCoding
import Datastore
import Platform
import Synchronization
import Tasks

/// One backup session: the rules of ``BackupSessionRules`` over a staged snapshot. (Spec: protocol A.7, A.8, B.1.)
///
/// Chunk uploads and downloads from the base run in parallel on the worker threads. All other calls go through the
/// lane, one after the other in the order of their arrival: writer ids come out in that order, entries of an index are
/// appended in that order, and `finish` sees all that was sent before it.
final class BackupSession: SessionHandler, LiveSession {
    let request: OpenRequest
    let datastore: Datastore
    let stage: SnapshotStage
    let task: RunningTask
    let workers: WorkerPool
    let coders: BlobCoders
    let revealsDuplicates: Bool
    let rules: Mutex<BackupSessionRules>
    /// Open index files by writer id.
    let writers = Mutex<[Int: any IndexWriter]>([:])

    private let published: (@Sendable (PublishedSnapshot) -> Void)?
    let table: SessionTable
    private let lane = OrderedLane()
    private let life = SessionLife()
    private let connection = SessionConnectionSlot()
    private let failures: FailureLog

    init(
        _ request: OpenRequest, in datastore: Datastore, stage: SnapshotStage, task: RunningTask, workers: WorkerPool,
        coders: BlobCoders, settings: SessionSettings, table: SessionTable, revealsDuplicates: Bool,
        published: (@Sendable (PublishedSnapshot) -> Void)?
    ) {
        self.request = request
        self.datastore = datastore
        self.stage = stage
        self.task = task
        self.workers = workers
        self.coders = coders
        self.revealsDuplicates = revealsDuplicates
        self.published = published
        self.table = table
        rules = Mutex(BackupSessionRules(imageLimit: settings.imageLimit))
        failures = FailureLog(task)
        let place = request.namespace.isRoot ? "" : " in namespace '\(request.namespace)'"
        task.log("starting backup of \(request.snapshot) into datastore '\(request.datastore)'\(place)")
        if let base = stage.base { task.log("previous snapshot is \(base)") }
        task.onAbort { [connection] in connection.close(reason: "task aborted") }
    }

    /// A session that nobody attached to a connection: its stage and locks go with it.
    deinit {
        table.remove(ObjectIdentifier(self))
        task.finish(.error("the session was dropped before it had a connection"))
    }

    // MARK: Calls

    func admit(_ head: BackupRequestHead) -> BodyAdmission {
        guard RequestPath.isAllowed(head.path) else { return refuse(head, .early("path contains illegal components")) }
        guard let endpoint = BackupEndpoint(head) else { return refuse(head, .notFound(head)) }
        guard endpoint.hasDataBody else {
            return .collect(limit: SessionLimits.parameterBodyBytes, tooLong: .early("Request body too large"))
        }
        do {
            switch try endpoint.call(head, body: []) {
            case .uploadChunk(_, let upload):
                return .collect(
                    limit: upload.encodedSize,
                    tooLong: .error(
                        400, "uploaded chunk \(upload.digest) is larger than announced (\(upload.encodedSize) bytes)"))
            case .uploadBlob(let name, let encodedSize):
                return .collect(
                    limit: encodedSize,
                    tooLong: .error(400, "got blob '\(name)' with unexpected length (more than \(encodedSize))"))
            default:
                return .discard
            }
        } catch {
            return refuse(head, .refused(error))
        }
    }

    private func refuse(_ head: BackupRequestHead, _ response: BackupResponse) -> BodyAdmission {
        failures.note(head, response)
        return .refuse(response)
    }

    func receive(_ request: BackupRequest) -> @Sendable () async -> BackupResponse {
        let head = request.head
        guard RequestPath.isAllowed(head.path), let endpoint = BackupEndpoint(head) else {
            return { .notFound(head) }
        }
        let work: @Sendable () async -> BackupResponse = { [self] in
            await answering(head) {
                // Parameter bodies may be long: they are read on a worker thread as well.
                let session = self
                return try await session.workers.run {
                    try session.perform(try endpoint.call(head, body: request.body), body: request.body)
                }
            }
        }
        switch endpoint {
        case .uploadDynamicChunk, .uploadFixedChunk, .previous, .previousBackupTime, .directory, .speedtest:
            return work
        case .openDynamic, .openFixed, .appendDynamic, .appendFixed, .closeDynamic, .closeFixed, .uploadBlob, .finish:
            let answer = lane.add(work)
            return { await answer.value }
        }
    }

    private func answering(
        _ head: BackupRequestHead, _ body: () async throws -> BackupResponse
    ) async -> BackupResponse {
        guard life.enter() else { return .failed(BackupFailure(.cancelled, "the session is over")) }
        defer { life.leave() }
        do {
            return try await body()
        } catch {
            let response = SessionFailure.response(to: error)
            failures.note(head, response)
            return response
        }
    }

    /// Makes the answer of one call, on a worker thread.
    private func perform(_ call: BackupCall, body: [UInt8]) throws -> BackupResponse {
        switch call {
        case .directory: return .directory(BackupEndpoint.directoryNames)
        case .openDynamicIndex(let name): return .data(.integer(try openDynamicIndex(name)))
        case .openFixedIndex(let name, let size, let reuse):
            return .data(.integer(try openFixedIndex(name, size: size, reuse: reuse)))
        case .uploadChunk(let kind, let upload): return try storeChunk(kind, upload, body)
        case .append(let kind, let append): try self.append(kind, append)
        case .close(let kind, let close): try self.close(kind, close)
        case .uploadBlob(let name, let encodedSize): try storeBlob(name, encodedSize: encodedSize, body)
        case .previousBackupTime: return .data(stage.base.map { .integer($0.time) } ?? .null)
        case .previous(let name): return try previous(name)
        case .finish: try finish()
        case .speedtest: break
        }
        return .data(.null)
    }

    /// Publishes what was uploaded. Once the store has renamed the staged folder, the backup has succeeded, whatever
    /// becomes of the connection.
    private func finish() throws {
        let counted = try rules.withLock { rules throws(BackupFailure) in try rules.beginFinish() }
        if !request.isBenchmark {
            let statistics = Manifest.UploadStatistics(
                count: counted.count, size: counted.size, compressedSize: counted.compressedSize,
                duplicates: counted.duplicates)
            let reader: SnapshotReader
            do {
                reader = try stage.publish(statistics) { [task] in task.log($0) }
            } catch {
                rules.withLock { $0.finishRefused() }
                throw error
            }
            rules.withLock { $0.finished() }
            if let published {
                published(
                    PublishedSnapshot(
                        datastore: datastore, namespace: request.namespace, snapshot: request.snapshot,
                        owner: stage.request.owner, reader: reader))
            } else {
                reader.close()
            }
        } else {
            rules.withLock { $0.finished() }
        }
        task.log(
            "backup finished: \(counted.count) chunks (\(counted.duplicates) known), \(counted.size) bytes, "
                + "\(counted.compressedSize) stored")
    }

    // MARK: The connection

    func attach(_ connection: any SessionConnection) { self.connection.attach(connection) }

    func close(reason: String) { connection.close(reason: reason) }

    func connectionEnded(_ end: ConnectionEnd) async {
        guard life.close() else { return }
        connection.clear()
        // Stops a publication that has not reached its rename; one that has makes this do nothing.
        let stage = stage
        do { try await workers.run { stage.discard() } } catch { stage.discard() }
        await life.drain()
        let hasFinished = rules.withLock { $0.connectionEnded() }
        writers.withLock { $0 = [:] }
        if hasFinished || request.isBenchmark {
            task.finish(.ok)
        } else if task.isAborted {
            task.finish(.error("task aborted"))
        } else {
            switch end {
            case .closed: task.finish(.error("backup ended but finished flag is not set."))
            case .lost(let reason): task.finish(.error("connection error: \(reason)"))
            }
        }
        table.remove(ObjectIdentifier(self))
    }
}
