import AccessControl
import BackupFormats
import BackupHTTP2
import BackupServer
import Datastore
import Listener
import Logging
import Platform
import RESTAPI
import ServiceLifecycle
import StateDatabase
import Synchronization
import Tasks
import UnixSignals
import XenBackup

/// The server's parts, put together: the only place that knows all of them.
struct ServerAssembly {
    private let access: AccessControl
    private let tasks: TaskRegistry
    private let stores: DatastoreRegistry
    private let sessions: SessionOpener
    private let workers: WorkerPool
    private let scheduler: JobScheduler
    private let xen: XenProxy
    private let peers: PeerParts
    private let listener: Listener
    /// Without TLS, for peers only.
    private let peerListener: Listener?
    private let logger: Logger

    init(_ command: Serve) async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "cairn")
        logger.logLevel = command.logLevel
        self.logger = logger
        let time = TimeSource.system

        let database = try StateDatabase(folder: try StateFolder(path: command.state))
        access = try AccessControl(
            database: database, hashing: PasswordHasher(width: ProcessInformation.processorCount), time: time,
            log: logger)
        if let first = try await access.prepareFirstStart() { try Self.announce(first, by: access) }
        tasks = try TaskRegistry(database: database, process: .current, time: time, log: logger)

        workers = WorkerPool(
            name: "work", width: 2 * ProcessInformation.processorCount + 2, queueLimit: Serve.waitingWork)
        var options = StoreOptions()
        options.minimumFreeByteCount = command.minimumFreeSpace.map { Int64($0) << 20 }
        options.collectionMemory = command.collectionMemory << 20
        stores = try DatastoreRegistry(
            database: database, options: options, roots: command.datastoreRoot, logger: logger)
        let verification = NewSnapshotVerification(stores: stores, tasks: tasks, workers: workers)
        sessions = SessionOpener(tasks: tasks, workers: workers) { verification.take($0) }

        let sync = SyncService(
            stores: stores, access: access, database: database, connector: NetworkConnector(time: time),
            workers: workers, time: time)

        // The certificate can be read anew, so whoever shows its fingerprint asks the listener.
        let door = LateListener()
        let maintenance = MaintenanceService(
            stores: stores, access: access, tasks: tasks, workers: workers, time: time, localOffset: LocalTime.offset)
        let jobs = JobService(
            database: database, stores: stores, tasks: tasks, work: JobWork(maintenance: maintenance, sync: sync),
            time: time, localOffset: LocalTime.offset, log: logger)
        let registry = tasks
        let alerts = OverdueAlerts(jobs: jobs, log: logger)
        let history = MetricHistory(
            database: database, stores: stores, time: time, log: logger, machine: MachineFigures.read)
        scheduler = JobScheduler(
            time: time, workers: workers, log: logger,
            everyMinute: [("jobs", { try jobs.runDue() }), ("metrics", { try history.record() })],
            sometimes: [("overdue", { try alerts.refresh() }), ("task logs", { try registry.rotate() })])
        peers = try PeerParts(
            command: command, database: database, access: access, stores: stores, tasks: tasks, workers: workers,
            time: time, logger: logger)
        let services = RESTServices(
            access: access, tasks: tasks, stores: stores, content: ContentService(stores: stores, access: access),
            maintenance: maintenance, jobs: jobs, alerts: alerts, history: history, sync: sync, peers: peers.service,
            sessions: sessions,
            settings: NodeSettings(database: database), workers: workers, time: time,
            node: NodeDescription(
                name: ProcessInformation.hostName, fingerprint: { door.fingerprint }, version: CairnVersion.text,
                certificate: door),
            logger: logger)
        let datastores = ChunkStores(
            stores: stores, sessions: sessions, access: access, remotes: sync.remotes,
            connector: NetworkConnector(time: time), workers: workers, time: time,
            scratchFolder: try XenProxy.scratchFolder(in: database.folder), logger: logger)
        xen = try XenProxy(
            datastores: datastores, command: command, folder: database.folder, tasks: tasks, workers: workers,
            time: time, logger: logger)
        xen.announce()
        let rest = RESTServer(services: services, metrics: try command.metricsPage())
        listener = try Listener(
            configuration: try command.listenerConfiguration(),
            handler: peers.handler(before: xen.handler(before: rest)),
            time: time, logger: logger)
        peerListener = try command.peerListenerConfiguration().map(peers.plainListener)
        door.set(listener)
    }

    /// Serves until SIGTERM or SIGINT; then sessions get their time, tasks are closed, datastores are left in order.
    func run() async throws {
        let stores = stores
        try await workers.run { stores.openAll() }
        let address = try await listener.start()
        let place = String(address.url.dropFirst("https://".count))
        let fingerprint = address.fingerprint?.description ?? ""
        if let peerListener {
            StandardStreams.print("peers listening on \(try await peerListener.start().url)\n")
        }
        try access.publishLocalAdmin(address: place, fingerprint: fingerprint, pid: ProcessInformation.id)
        StandardStreams.print("listening on \(address.url) fingerprint \(fingerprint)\n")

        let doors = [listener, peerListener].compactMap(\.self)
        let group = ServiceGroup(
            configuration: .init(
                services: doors.map { .init(service: $0) } + [
                    .init(service: CertificateReload(listener: listener, logger: logger)),
                    .init(service: Schedule(scheduler: scheduler)),
                    // The last ones stop first: jobs and sessions of peers end while the other side is connected.
                    .init(service: XenShutdown(trees: xen.trees)),
                    .init(service: peers.sessions),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        defer { try? access.withdrawLocalAdmin() }
        try await group.run()
        await xen.close()
        await sessions.shutDown()
        await tasks.shutDown()
        try await workers.run { stores.closeAll() }
    }

    /// Shows the first password on a terminal, or tells where it stands. (Decision 9.)
    private static func announce(_ first: FirstStart, by access: AccessControl) throws {
        if StandardStreams.isTerminal(1) {
            StandardStreams.print("first administrator: \(first.userID), password: \(first.password)\n")
        } else {
            let path = try access.writeInitialPassword(first)
            StandardStreams.print("first administrator: \(first.userID), password in \(path)\n")
        }
    }
}

/// The listener, for those who are made before it.
private final class LateListener: NodeCertificate {
    private let listener = Mutex<Listener?>(nil)

    func set(_ value: Listener) { listener.withLock { $0 = value } }
    var fingerprint: String { listener.withLock { $0 }?.fingerprint?.description ?? "" }

    private var present: Listener {
        get throws {
            guard let listener = listener.withLock({ $0 }) else {
                throw BackupFailure(.unavailable, "The server has just begun to start")
            }
            return listener
        }
    }

    func describe() throws -> JSONObject { try present.describeCertificate() }

    func replace(certificates: String, key: String?) throws {
        try present.replaceCertificate(Array(certificates.utf8), key: key.map { Array($0.utf8) })
    }
}
