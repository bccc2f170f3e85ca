package import AccessControl
package import BackupFormats
package import BackupServer
package import Logging
package import Platform
import StateDatabase
import Synchronization

/// The datastores that Xen Orchestra may use as remotes: all of this server, and those of the remotes that are configured
/// here. One per server; repositories of the same datastore share locks and what they have read.
package final class ChunkStores: Sendable {
    private let stores: DatastoreRegistry
    private let sessions: SessionOpener
    private let access: AccessControl
    private let remotes: RemoteRegistry
    private let connector: any RemoteConnector
    let workers: WorkerPool
    let time: TimeSource
    /// Where halves of chunks wait on the disk, in files that have no name.
    let scratchFolder: String
    let logger: Logger
    let locks = GroupLocks()
    /// How long a job waits for another one that works on the same machine.
    let lockPatience: Duration
    private let caches = Mutex<[ChunkStoreAddress: BlobCache]>([:])

    /// - Parameters:
    ///   - workers: For file work.
    ///   - scratchFolder: A folder of this server for temporary files.
    package init(
        stores: DatastoreRegistry, sessions: SessionOpener, access: AccessControl, remotes: RemoteRegistry,
        connector: any RemoteConnector, workers: WorkerPool, time: TimeSource, scratchFolder: String, logger: Logger,
        lockPatience: Duration = .seconds(60)
    ) {
        self.stores = stores
        self.sessions = sessions
        self.access = access
        self.remotes = remotes
        self.connector = connector
        self.workers = workers
        self.time = time
        self.scratchFolder = scratchFolder
        self.logger = logger
        self.lockPatience = lockPatience
    }

    /// Opens a datastore as a remote of Xen Orchestra.
    ///
    /// - Parameters:
    ///   - remoteID: The remote's id in the job or call.
    ///   - name: What the administrator calls it.
    /// - Throws: ``BackupFailure``: `noSuchObject` or `notFound` where datastore, namespace or remote do not exist, with
    ///   those that do; `conflict` in a maintenance mode; `unavailable` where the other server does not answer.
    package func open(_ address: ChunkStoreAddress, remoteID: String, name: String) async throws -> any XenRepository {
        let connection: any ChunkStoreConnection
        if let remote = address.remote {
            connection = try await connect(address, remote)
        } else {
            connection = try await workers.run { [stores, sessions, access, workers] in
                try LocalChunkStore(address, stores: stores, sessions: sessions, access: access, workers: workers)
            }
        }
        let cache = caches.withLock { caches in
            let cache = caches[address] ?? BlobCache()
            caches[address] = cache
            return cache
        }
        return ChunkStoreRepository(connection, remoteID: remoteID, name: name, cache: cache, stores: self)
    }

    private func connect(_ address: ChunkStoreAddress, _ name: String) async throws -> RemoteChunkStore {
        let remote: Remote
        do {
            remote = try await workers.run { [remotes] in try remotes.remote(name) }
        } catch let failure as BackupFailure where failure.kind == .notFound {
            let names = try await workers.run { [remotes] in try remotes.list().entries.map { "'\($0.id)'" } }
            throw BackupFailure(
                .notFound,
                "no remote '\(name)' is configured here; "
                    + (names.isEmpty ? "there are none" : "there are: \(names.joined(separator: ", "))"),
                hints: ["Add it with 'cairn remote create'."])
        }
        let store = RemoteChunkStore(address) { [connector] in
            try await connector.connect(remote, rates: SyncRates())
        }
        do {
            try await store.probe()
        } catch {
            await store.close()
            throw error
        }
        return store
    }

    // MARK: Folders

    /// The file that marks a folder as a datastore: `{"datastore": "<name>"}`, or an empty object where the folder's path
    /// tells. (Spec: xo-proxy §10.1.)
    package static let markerFile = ".xo-chunkstore.json"
    private static let markerLimit = 64 << 10

    /// The datastore of this server that a folder is, such as the root of a remote of type `file` or `nfs`. Blocks.
    ///
    /// - Returns: nil where the folder is none: the classic layout then.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where it is marked as a datastore that this server does not have.
    package func address(ofFolder folder: String) throws -> ChunkStoreAddress? {
        do {
            guard try FileSystem.isFolder("\(folder)/.chunks") else { return nil }
            let path = try FileSystem.realPath(folder)
            for record in stores.records where (try? FileSystem.realPath(record.path)) == path {
                return ChunkStoreAddress(datastore: record.name)
            }
            guard let marker = try FileSystem.readIfPresent("\(folder)/\(Self.markerFile)", limit: Self.markerLimit)
            else { return nil }
            let content = try? JSONValue(parsing: marker)
            if let name = content?["datastore"]?.stringValue, stores.records.contains(where: { $0.name == name }) {
                return ChunkStoreAddress(datastore: name)
            }
        } catch {
            throw error.failure("The folder \(folder) cannot be looked at")
        }
        throw BackupFailure(
            .invalidInput, "The folder \(folder) is marked as a datastore, but not as one of this server",
            hints: ["Add it with 'cairn datastore create --reuse', or name the datastore in \(Self.markerFile)."])
    }
}
