import BackupFormats
import BackupProtocol
import Datastore
import Platform
import Synchronization
import Tasks

/// One reader session: files of a snapshot, and the chunks that its downloaded indexes name. (Spec: protocol B.2.)
final class ReaderSession: SessionHandler, LiveSession {
    private static let speedtestBody = [UInt8](repeating: 0x41, count: ReaderCall.speedtestBytes)

    private let datastore: Datastore
    private let reader: SnapshotReader
    private let task: RunningTask
    private let workers: WorkerPool
    private let refusalDelay: Duration
    private let table: SessionTable
    private let rules = Mutex(ReaderSessionRules())
    private let life = SessionLife()
    private let connection = SessionConnectionSlot()
    private let failures: FailureLog
    private let answers: AnswerBudget.Share

    init(
        _ request: OpenRequest, in datastore: Datastore, reader: SnapshotReader, task: RunningTask, workers: WorkerPool,
        settings: SessionSettings, table: SessionTable, answers: AnswerBudget
    ) {
        self.answers = AnswerBudget.Share(of: answers)
        self.datastore = datastore
        self.reader = reader
        self.task = task
        self.workers = workers
        self.table = table
        refusalDelay = settings.refusalDelay
        failures = FailureLog(task)
        let place = request.namespace.isRoot ? "" : " in namespace '\(request.namespace)'"
        task.log("reading \(request.snapshot) of datastore '\(request.datastore)'\(place)")
        task.onAbort { [connection] in connection.close(reason: "task aborted") }
    }

    deinit {
        table.remove(ObjectIdentifier(self))
        reader.close()
        task.finish(.error("the session was dropped before it had a connection"))
    }

    // MARK: Calls

    func admit(_ head: BackupRequestHead) -> BodyAdmission {
        guard RequestPath.isAllowed(head.path) else { return refuse(head, .early("path contains illegal components")) }
        guard head.method == "GET",
            head.path == "/" || ReaderCall.directoryNames.contains(String(head.path.dropFirst()))
        else { return refuse(head, .notFound(head)) }
        // Only the directory reads a body at all, and takes no parameters.
        guard head.path == "/" else { return .discard }
        return .collect(limit: SessionLimits.parameterBodyBytes, tooLong: .early("Request body too large"))
    }

    private func refuse(_ head: BackupRequestHead, _ response: BackupResponse) -> BodyAdmission {
        failures.note(head, response)
        return .refuse(response)
    }

    func receive(_ request: BackupRequest) -> @Sendable () async -> BackupResponse {
        let arrival = ContinuousClock.now
        return { [self] in
            let response = await answer(request)
            if response.status == 401 {
                // Held back outside of the session's count, so that its end does not wait. A cancelled sleep is fine.
                try? await Task.sleep(until: arrival + refusalDelay, clock: .continuous)
            }
            return response
        }
    }

    private func answer(_ request: BackupRequest) async -> BackupResponse {
        guard life.enter() else { return .failed(BackupFailure(.cancelled, "the session is over")) }
        defer { life.leave() }
        do {
            guard let call = try ReaderCall(request.head, body: request.body) else { return .notFound(request.head) }
            switch call {
            case .directory: return .directory(ReaderCall.directoryNames)
            case .speedtest: return .file(Self.speedtestBody)
            case .download(let name):
                let session = self
                return try await workers.run { try session.download(name) }
            case .chunk(let digest):
                try rules.withLock { rules throws(BackupFailure) in try rules.checkChunk(digest) }
                return try await chunk(digest)
            }
        } catch {
            let response = SessionFailure.response(to: error)
            failures.note(request.head, response)
            return response
        }
    }

    private func chunk(_ digest: ChunkDigest) async throws -> BackupResponse {
        let chunks = datastore.chunks
        let byteCount = try await workers.run { try chunks.byteCount(of: digest) }
        let lease = try await answers.take(byteCount ?? 0)
        let blob = try await workers.run { try chunks.read(digest) }
        table.traffic.sent(byteCount: blob.count)
        var response = BackupResponse.file(blob)
        response.hold = lease
        return response
    }

    /// A file of the snapshot. The chunks of an index are allowed before its first byte is sent.
    private func download(_ name: String) throws -> BackupResponse {
        let file = try rules.withLock { rules throws(BackupFailure) in try rules.checkDownload(name: name) }
        task.log("download of '\(file)'")
        guard file.kind != .blob else { return .file(try reader.blob(file)) }
        let index = try SessionFailure.indexOpening { try reader.openIndex(file) }
        var batch: [ChunkDigest] = []
        func allow() throws {
            try rules.withLock { rules throws(BackupFailure) in try rules.allow(batch) }
            batch.removeAll(keepingCapacity: true)
        }
        try index.forEach { entry in
            batch.append(entry.digest)
            if batch.count == Self.batchCount { try allow() }
        }
        try allow()
        return FileBody(index, workers: workers).response
    }

    /// Digests that are allowed under one lock.
    private static let batchCount = 1024

    // MARK: The connection

    func attach(_ connection: any SessionConnection) { self.connection.attach(connection) }

    func close(reason: String) { connection.close(reason: reason) }

    func connectionEnded(_ end: ConnectionEnd) async {
        guard life.close() else { return }
        connection.clear()
        answers.end()
        await life.drain()
        rules.withLock { $0.connectionEnded() }
        reader.close()
        task.finish(task.isAborted ? .error("task aborted") : .ok)
        table.remove(ObjectIdentifier(self))
    }
}
