package import AccessControl
package import BackupFormats
import BackupProtocol
import BlobCoding
import Datastore
package import Platform
package import StateDatabase
package import Tasks

/// Copies snapshots between datastores: from a remote, to a remote, or within this server. (Spec: formats §9.13,
/// protocol C.4 and C.5.)
package struct SyncService: Sendable {
    package let remotes: RemoteRegistry
    let stores: DatastoreRegistry
    let access: AccessControl
    let connector: any RemoteConnector
    let workers: WorkerPool
    let time: TimeSource
    let policy: SyncPolicy
    private let coders = BlobCoders()

    package init(
        stores: DatastoreRegistry, access: AccessControl, database: StateDatabase, connector: any RemoteConnector,
        workers: WorkerPool, time: TimeSource, policy: SyncPolicy = SyncPolicy()
    ) {
        self.stores = stores
        self.access = access
        self.connector = connector
        self.workers = workers
        self.time = time
        self.policy = policy
        remotes = RemoteRegistry(database: database)
    }

    /// Does one synchronisation inside a task that the caller has opened, for somebody whose rights the caller has
    /// checked. What fails in one group does not stop the others; the task then ends with that error.
    ///
    /// - Throws: ``BackupFailure``, also where single groups failed.
    package func run(_ request: SyncRequest, in task: RunningTask) async throws {
        // Its own task, so that an abort ends every call on the network at once.
        let work = Task { try await perform(request, task) }
        task.onAbort { work.cancel() }
        do {
            try await withTaskCancellationHandler {
                try await work.value
            } onCancel: {
                work.cancel()
            }
        } catch {
            try task.checkAborted()
            throw error
        }
    }

    private func perform(_ request: SyncRequest, _ task: RunningTask) async throws {
        let start = time.nanoseconds()
        let statistics = SyncStatistics()
        let result = await Result {
            switch request.direction {
            case .pull: try await pull(request, statistics, task)
            case .push: try await push(request, statistics, task)
            }
        }
        let verb = request.direction == .pull ? "pulled" : "pushed"
        for line in statistics.summary(verb, nanoseconds: time.nanoseconds() - start) { task.log(line) }
        try result.get()
        let errors = statistics.figures.errors
        guard errors == 0 else {
            throw BackupFailure(.conflict, "sync failed with some errors: \(errors) groups or namespaces, see above")
        }
    }

    private func pull(_ request: SyncRequest, _ statistics: SyncStatistics, _ task: RunningTask) async throws {
        let purpose = Self.purpose(task)
        let target = try await workers.run { try stores.use(request.store, for: .write, by: purpose) }
        defer { target.end() }
        guard let name = request.remote else {
            let origin = try await workers.run { try stores.use(request.remoteStore, for: .read, by: purpose) }
            defer { origin.end() }
            let source = LocalSource(
                store: origin.store, reader: request.owner, access: access, workers: workers, purpose: purpose)
            return try await pull(request, from: source, into: target.store, statistics, task)
        }
        let source = RemoteSource(
            remote: name, store: request.remoteStore, connection: try await connect(name, rates: request.rates),
            patience: policy.patience)
        try await pull(request, from: source, into: target.store, statistics, task)
    }

    private func pull(
        _ request: SyncRequest, from source: any SyncSource, into store: Datastore, _ statistics: SyncStatistics,
        _ task: RunningTask
    ) async throws {
        task.log("pull datastore '\(request.store)' from \(source.label)")
        let context = PullContext(
            request: request, store: store, source: source, task: task, workers: workers, coders: coders,
            policy: policy, statistics: statistics)
        let result = await Result { try await StorePull(context: context, access: access).run() }
        await source.close()
        try result.get()
    }

    /// Who uses a datastore, in the failures of others.
    private static func purpose(_ task: RunningTask) -> String { "the synchronisation of task \(task.upid)" }

    private func push(_ request: SyncRequest, _ statistics: SyncStatistics, _ task: RunningTask) async throws {
        guard let name = request.remote else { throw BackupFailure(.invalidInput, "A push needs a remote") }
        let purpose = Self.purpose(task)
        let origin = try await workers.run { try stores.use(request.store, for: .read, by: purpose) }
        defer { origin.end() }
        let remote = try await workers.run { try remotes.remote(name) }
        let connection = try await connect(remote, rates: request.rates)
        let result = await Result {
            let target = try await RemoteTarget(connection, remote)
            task.log("push datastore '\(request.store)' to remote '\(name)', datastore '\(request.remoteStore)'")
            let local = LocalSource(
                store: origin.store, reader: request.owner, access: access, workers: workers, purpose: purpose)
            let context = PushContext(
                request: request, store: origin.store, local: local,
                catalog: RemoteCatalog(
                    connection: connection, store: request.remoteStore, patience: policy.patience),
                remote: target, task: task, workers: workers, policy: policy, statistics: statistics)
            try await StorePush(context: context).run()
        }
        await connection.close()
        try result.get()
    }

    private func connect(_ name: String, rates: SyncRates = SyncRates()) async throws -> any RemoteConnection {
        try await connect(try await workers.run { try remotes.remote(name) }, rates: rates)
    }

    private func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection {
        try await within(policy.patience) { [connector] in try await connector.connect(remote, rates: rates) }
    }
}

/// Looking at a remote. (Spec: rest E.5.)
extension SyncService {
    /// The remote's answer to a call that only reads.
    private func ask(_ name: String, _ path: String, _ parameters: JSONObject = [:]) async throws -> JSONValue {
        let connection = try await connect(name)
        let result = await Result {
            try await within(policy.patience) { try await connection.call("GET", path, parameters) }
        }
        await connection.close()
        return try result.get()
    }

    /// The datastores of a remote that its login may see, as the remote lists them.
    package func datastores(of remote: String) async throws -> JSONValue { try await ask(remote, "/admin/datastore") }

    package func namespaces(of remote: String, store: String) async throws -> JSONValue {
        try await ask(remote, "/admin/datastore/\(store)/namespace")
    }

    package func groups(of remote: String, store: String, namespace: Namespace) async throws -> JSONValue {
        try await ask(remote, "/admin/datastore/\(store)/groups", RemoteCatalog.place(namespace))
    }
}

extension Result where Failure == any Error {
    /// What a body that waits gives or throws.
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
