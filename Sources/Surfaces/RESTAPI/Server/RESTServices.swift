package import AccessControl
package import BackupFormats
package import BackupServer
package import Logging
package import PeerSync
package import Platform
package import Tasks

/// What the endpoints stand on; put together by the program.
package struct RESTServices: Sendable {
    package var access: AccessControl
    package var tasks: TaskRegistry
    package var stores: DatastoreRegistry
    package var content: ContentService
    package var maintenance: MaintenanceService
    package var jobs: JobService
    package var alerts: OverdueAlerts
    package var history: MetricHistory
    package var sync: SyncService
    /// Nil where this instance has no peers.
    package var peers: (any PeerAdministration)?
    package var sessions: SessionOpener
    package var settings: NodeSettings
    /// For work that blocks.
    package var workers: WorkerPool
    package var time: TimeSource
    package var node: NodeDescription
    package var logger: Logger

    package init(
        access: AccessControl, tasks: TaskRegistry, stores: DatastoreRegistry, content: ContentService,
        maintenance: MaintenanceService, jobs: JobService, alerts: OverdueAlerts, history: MetricHistory,
        sync: SyncService, peers: (any PeerAdministration)?, sessions: SessionOpener, settings: NodeSettings,
        workers: WorkerPool, time: TimeSource, node: NodeDescription, logger: Logger
    ) {
        self.access = access
        self.tasks = tasks
        self.stores = stores
        self.content = content
        self.maintenance = maintenance
        self.jobs = jobs
        self.alerts = alerts
        self.history = history
        self.sync = sync
        self.peers = peers
        self.sessions = sessions
        self.settings = settings
        self.workers = workers
        self.time = time
        self.node = node
        self.logger = logger
    }
}

/// What the server says about itself.
package struct NodeDescription: Sendable {
    package var name: String
    /// SHA-256 of the certificate as `aa:bb:…`; asked each time, since it may be exchanged.
    package var fingerprint: @Sendable () -> String
    /// Version of this program.
    package var version: String
    /// The certificate and the ways to change it; nil in tests without one.
    package var certificate: (any NodeCertificate)?

    package init(
        name: String, fingerprint: @escaping @Sendable () -> String, version: String,
        certificate: (any NodeCertificate)? = nil
    ) {
        self.name = name
        self.fingerprint = fingerprint
        self.version = version
        self.certificate = certificate
    }
}

/// The certificate that the server shows. Calls block.
package protocol NodeCertificate: Sendable {
    /// Its members as the API has them. (Spec: rest E.8.)
    func describe() throws -> JSONObject
    /// Puts another one in place, which new connections see.
    ///
    /// - Parameter key: Nil where the present key stays.
    /// - Throws: ``BackupFailure`` where they cannot be used; the old one then stays.
    func replace(certificates: String, key: String?) throws
}

/// How long refusals wait, counted from the arrival of the request, so that guessing is slow. (Spec: rest F.4.)
package struct RefusalDelays: Sendable {
    /// 401.
    package var unauthenticated: Duration
    /// 403 of an access rule that needs only the path.
    package var unauthorized: Duration

    package init(unauthenticated: Duration = .seconds(3), unauthorized: Duration = .milliseconds(500)) {
        self.unauthenticated = unauthenticated
        self.unauthorized = unauthorized
    }
}
