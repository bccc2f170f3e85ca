import AccessControl
import BackupFormats
import BackupServer
import Listener
import Logging
import ManagementAPI
import PeerSync
import PeerSyncEndpoint
import Platform
import ServiceLifecycle
import StateDatabase
import Tasks

/// The parts of peer sync, put together.
struct PeerParts {
    let service: PeerService
    private let hub: HubService
    private let member: MemberService
    private let gate = StrangerGate()
    private let access: AccessControl
    private let workers: WorkerPool
    private let time: TimeSource
    private let logger: Logger

    init(
        command: Serve, database: StateDatabase, access: AccessControl, stores: DatastoreRegistry, tasks: TaskRegistry,
        workers: WorkerPool, time: TimeSource, logger: Logger
    ) throws {
        self.access = access
        self.workers = workers
        self.time = time
        self.logger = logger
        let directory = try PeerDirectory(database: database, name: command.instance ?? ProcessInformation.hostName)
        let states = PeerStates()
        hub = try HubService(
            directory: directory, states: states, store: OperationStore(database: database), database: database,
            workers: workers, time: time, log: logger)
        member = MemberService(
            directory: directory, states: states, dialer: HTTP2PeerDialer(log: logger),
            feed: MemberFeed(
                stores: stores, tasks: tasks, database: database, directory: directory, time: time, log: logger),
            workers: workers, time: time, log: logger)
        service = PeerService(
            directory: directory, states: states, hub: hub, database: database, workers: workers, time: time,
            log: logger)
    }

    /// In front of what answers all other paths.
    func handler(before next: any RESTHandler) -> any RESTHandler {
        PeerSyncEndpoint(
            before: next, hub: hub, administration: service, access: access, gate: gate, workers: workers, time: time,
            log: logger)
    }

    /// The door without TLS: nothing but sessions of members, which have an encryption of their own.
    func plainListener(_ configuration: ListenerConfiguration) throws -> Listener {
        try Listener(
            configuration: configuration, handler: PeerSyncEndpoint(hub: hub, gate: gate, log: logger), time: time,
            logger: logger)
    }

    /// What runs beside the listeners.
    var sessions: PeerSessions { PeerSessions(service: service, hub: hub, member: member) }
}

/// Keeps the sessions with peers, and ends them in order when the server stops.
struct PeerSessions: Service {
    let service: PeerService
    let hub: HubService
    let member: MemberService

    func run() async throws {
        await withGracefulShutdownHandler {
            await cancelWhenGracefulShutdown {
                await withDiscardingTaskGroup { group in
                    group.addTask { await hub.run() }
                    group.addTask { await service.watch() }
                    group.addTask { await member.run() }
                }
            }
        } onGracefulShutdown: {
            hub.stop()
        }
    }
}
