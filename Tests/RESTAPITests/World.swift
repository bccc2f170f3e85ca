import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import CairnTestSupport
import Datastore
import Foundation
import Logging
import ManagementAPI
import PeerSync
import Platform
import RESTAPI
import StateDatabase
import Tasks

/// A server without sockets: its parts in a temporary folder, called through the handler.
final class World: Sendable {
    /// Who sends a request.
    enum Caller: Sendable {
        case nobody
        /// A ticket in a cookie, and the CSRF header for writing methods.
        case user(ticket: String, csrf: String)
        case token(id: AuthID, secret: String)

        var headers: [(name: String, value: String)] {
            switch self {
            case .nobody: []
            case .user(let ticket, let csrf):
                [("cookie", "PBSAuthCookie=\(FormText.encode(ticket))"), ("csrfpreventiontoken", csrf)]
            case .token(let id, let secret): [("authorization", "PBSAPIToken=\(id):\(secret)")]
            }
        }
    }

    let folder: String
    let database: StateDatabase
    let access: AccessControl
    let tasks: TaskRegistry
    let workers: WorkerPool
    let stores: DatastoreRegistry
    let jobs: JobService
    let alerts: OverdueAlerts
    let history: MetricHistory
    let server: RESTServer
    let root: Identity
    /// What failed logins in this world are delayed by: nothing, unless a test asks.
    init(
        delays: RefusalDelays = RefusalDelays(unauthenticated: .zero, unauthorized: .zero), metricsToken: String? = nil,
        connector: any RemoteConnector = NoRemotes(), policy: SyncPolicy = SyncPolicy(),
        peers: (any PeerAdministration)? = nil
    ) throws {
        folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-rest-tests")
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        database = try StateDatabase(folder: try StateFolder(path: folder + "/state"))
        access = try AccessControl(
            database: database, hashing: PasswordHasher(width: 2), time: .system, log: log)
        root = access.inProcessRoot()
        tasks = try TaskRegistry(database: database, process: .current, time: .system, log: log)
        workers = WorkerPool(name: "test", width: 4)
        var options = StoreOptions()
        options.makesPrefixFolders = false
        options.syncLevel = .none
        options.minimumFreeByteCount = 0
        try FileSystem.makeFolder(folder + "/stores", mode: 0o755)
        stores = try DatastoreRegistry(database: database, options: options, roots: [folder + "/stores"], logger: log)
        let content = ContentService(stores: stores, access: access)
        let maintenance = MaintenanceService(
            stores: stores, access: access, tasks: tasks, workers: workers, time: .system, localOffset: { _ in 0 })
        jobs = JobService(
            database: database, stores: stores, tasks: tasks, work: JobWork(maintenance: maintenance, sync: nil),
            time: .system, localOffset: { _ in 0 }, log: log)
        alerts = OverdueAlerts(jobs: jobs, log: log)
        history = MetricHistory(
            database: database, stores: stores, time: .system, log: log,
            machine: { ["cpu": 0.25, "memtotal": 1000, "memused": 400] })
        server = RESTServer(
            services: RESTServices(
                access: access, tasks: tasks, stores: stores, content: content, maintenance: maintenance,
                jobs: jobs, alerts: alerts, history: history,
                sync: SyncService(
                    stores: stores, access: access, database: database, connector: connector, workers: workers,
                    time: .system, policy: policy), peers: peers,
                sessions: SessionOpener(tasks: tasks, workers: workers), settings: NodeSettings(database: database),
                workers: workers,
                time: .system,
                node: NodeDescription(name: "box", fingerprint: { "aa:bb" }, version: "0.1.0"), logger: log),
            delays: delays, metrics: try metricsToken.map { try MetricsPage(token: $0) })
    }

    deinit {
        stores.closeAll()
        workers.close()
        try? FileSystem.removeTree(folder)
    }

    /// Makes an empty datastore, or takes over what lies there.
    @discardableResult
    func addStore(_ name: String, reusing: Bool = false, settings: JSONObject = [:]) throws -> Datastore {
        let grant = try access.grant(.all, on: .root, to: root)
        let record = DatastoreRecord(name: name, path: "\(folder)/stores/\(name)", properties: settings)
        try stores.reserve(record, by: grant)
        try stores.create(record, reusing: reusing, by: grant)
        return try stores.datastore(name, for: .read)
    }

    /// Makes a user who has a role on a path, and gives a token of full power for it: cheaper than a password.
    func user(_ name: String, _ role: Role? = nil, on path: String = "/", propagates: Bool = true) async throws
        -> Caller
    {
        let id = try required(AuthID(parsing: "\(name)@pbs"))
        try await access.addUser(NewUser(id: id, password: "secret-\(name)"), by: root)
        if let role { try give(role, to: id, on: path, propagates: propagates) }
        return try await logIn(name)
    }

    func logIn(_ name: String) async throws -> Caller {
        let id = try required(AuthID(parsing: "\(name)@pbs"))
        let result = try await access.login(LoginRequest(userID: id, password: "secret-\(name)", peer: "test"))
        return .user(ticket: result.ticket, csrf: result.csrfToken)
    }

    /// Makes a token with a role of its own.
    func token(_ name: String, of user: String, _ role: Role? = nil, on path: String = "/") throws -> Caller {
        let id = try required(AuthID(parsing: "\(user)@pbs!\(name)"))
        let secret = try access.addToken(id, by: root)
        if let role { try give(role, to: id, on: path) }
        return .token(id: id, secret: secret)
    }

    func give(_ role: Role, to id: AuthID, on path: String, propagates: Bool = true) throws {
        try access.changeACL(
            ACLChange(path: try required(AccessPath(parsing: path)), role: role, subject: id, propagates: propagates),
            by: root)
    }

    /// Puts a finished snapshot with one blob into a store, by hand.
    func addSnapshot(
        _ group: String, _ time: Int64, in store: String, owner: String, namespace: String = "", notes: String? = nil
    ) throws {
        let group = try required(BackupGroup(parsing: group))
        let name = try required(SnapshotName(group: group, time: time))
        let namespaces = namespace.split(separator: "/").map { "ns/\($0)/" }.joined()
        let groupFolder = "\(folder)/stores/\(store)/\(namespaces)\(group)"
        try FileSystem.makeFolders("\(groupFolder)/\(name.timeText)", mode: 0o755)
        let blob = plainBlob("content of \(name)")
        var manifest = Manifest(snapshot: name)
        manifest.add(
            Manifest.File(
                name: try required(ArchiveName("a.conf.blob")), cryptMode: .none, size: UInt64(blob.count),
                checksum: nil))
        manifest.notes = notes
        try write(blob, "\(groupFolder)/\(name.timeText)/a.conf.blob")
        try write(try manifest.blob(), "\(groupFolder)/\(name.timeText)/index.json.blob")
        try write(Array("\(owner)\n".utf8), "\(groupFolder)/owner")
    }

    private func write(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    func required<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw BackupFailure(.invalidInput, "the test names something impossible") }
        return value
    }
}

/// A network on which nobody answers.
struct NoRemotes: RemoteConnector {
    func connect(_ remote: Remote, rates: SyncRates) async throws -> any RemoteConnection {
        throw BackupFailure(.unavailable, "remote \(remote.label) cannot be reached")
    }
}
