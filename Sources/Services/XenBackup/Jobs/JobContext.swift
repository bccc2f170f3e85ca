import BackupFormats
import Logging
import Synchronization
import Tasks
import VirtualDisks
import XenAPI

/// What all parts of one job's run need.
struct JobContext: Sendable {
    let job: JSONObject
    let jobID: String
    let schedule: JSONObject
    let levels: JobSettingLevels
    let root: TaskNode
    let configuration: XenBackups.Configuration
    let hosts: JobHosts
    let shared: SharedByJobs
    let clock: TimeSource
    let logger: Logger
    /// `maxExportRate`.
    let rate: RateLimit
    private let remotes: JSONObject
    private let opener: any RepositoryOpening

    init(
        parameters: JSONObject, job: JSONObject, levels: JobSettingLevels, root: TaskNode,
        configuration: XenBackups.Configuration, repositories: any RepositoryOpening,
        connector: any XenHostConnecting, shared: SharedByJobs, clock: TimeSource, logger: Logger
    ) throws {
        self.job = job
        jobID = job["id"]?.stringValue ?? ""
        schedule = parameters["schedule"]?.objectValue ?? [:]
        self.levels = levels
        self.root = root
        self.configuration = configuration
        hosts = JobHosts(
            connector: connector, xapis: parameters["xapis"]?.objectValue ?? [:],
            hostOfRecord: parameters["recordToXapi"]?.objectValue ?? [:])
        self.shared = shared
        self.clock = clock
        self.logger = logger
        rate = RateLimit(bytesPerSecond: try levels.resolve().maxExportRate)
        remotes = parameters["remotes"]?.objectValue ?? [:]
        opener = repositories
    }

    var scheduleID: String { levels.scheduleID }
    var milliseconds: Int64 { clock.nanoseconds() / 1_000_000 }

    /// Opens remotes, all at once. One that cannot be opened is a failed child `get remote adapter` of the root, and the
    /// others go on. (Spec: xo-proxy §5.5.)
    ///
    /// - Returns: Those that could be opened, in the order of `ids`; the caller closes them.
    func openRemotes(_ ids: [String], timeout: Duration) async -> [any XenRepository] {
        let found = await withTaskGroup(of: (Int, (any XenRepository)?).self) { group in
            for (index, id) in ids.enumerated() {
                group.addTask { (index, await open(id, timeout: timeout)) }
            }
            var found: [Int: any XenRepository] = [:]
            for await (index, repository) in group { found[index] = repository }
            return found
        }
        return ids.indices.compactMap { found[$0] }
    }

    private func open(_ id: String, timeout: Duration) async -> (any XenRepository)? {
        do {
            guard var remote = remotes[id]?.objectValue else {
                throw BackupFailure(.invalidInput, "the job names the remote \(id), which the call does not describe")
            }
            remote["id"] = .string(id)
            return try await withTimeLimit(timeout, of: "opening the remote") { [remote] in
                try await opener.open(remote)
            }
        } catch {
            await root.tell(error, as: "get remote adapter", ["type": "remote", "id": .string(id)])
            return nil
        }
    }
}

extension TaskNode {
    /// A child that does nothing but fail.
    func tell(_ failure: any Error, as name: String, _ properties: JSONObject) async {
        try? await run(name, properties) { _ in throw failure }
    }
}

/// The pools of a job, connected when the first machine needs them. (Spec: xo-proxy §2.5.)
actor JobHosts {
    private let connector: any XenHostConnecting
    private let xapis: JSONObject
    private var hostOfRecord: JSONObject
    private var connections: [String: Connection] = [:]

    init(connector: any XenHostConnecting, xapis: JSONObject, hostOfRecord: JSONObject) {
        self.connector = connector
        self.xapis = xapis
        self.hostOfRecord = hostOfRecord
    }

    /// Which pool a machine was found on, where the call did not say it.
    func learn(_ record: String, livesOn id: String) { hostOfRecord[record] = .string(id) }

    nonisolated var ids: [String] { xapis.members.map(\.name) }

    /// The pool on which a machine, storage or pool lives.
    func host(for record: String) async throws -> any XenHost {
        guard let id = hostOfRecord[record]?.stringValue, xapis[id]?.objectValue != nil else {
            throw BackupFailure(.notFound, "no XAPI associated to \(record)")
        }
        return try await host(id: id)
    }

    /// Waits for the connection; who is cancelled leaves at once, and the others go on waiting.
    func host(id: String) async throws -> any XenHost {
        let connection = connections[id] ?? start(id)
        do {
            return try await connection.host.value()
        } catch {
            // The next machine tries again.
            if !isCancellation(error), connections[id] === connection { connections[id] = nil }
            throw error
        }
    }

    private func start(_ id: String) -> Connection {
        let connection = Connection(connector, xapis[id]?.objectValue ?? [:])
        connections[id] = connection
        return connection
    }

    /// Closes all connections, also where the job was cancelled. One that still waits for its host is told to give up,
    /// and closed when it has.
    func close() async {
        let open = Array(connections.values)
        connections = [:]
        await inAnyCase {
            for connection in open { await connection.close() }
        }
    }

    /// A connection that is there, or on its way. It is shared, so that no single machine may end it.
    private final class Connection: Sendable {
        let host = Latch<any XenHost>()
        private let isSettled = Flag()
        private let work: Task<Void, Never>

        init(_ connector: any XenHostConnecting, _ xapi: JSONObject) {
            // Ended by ``close()``, else by the time limits of connecting.
            work = Task { [host, isSettled] in
                let result: Result<any XenHost, any Error>
                do { result = .success(try await connector.connect(xapi)) } catch { result = .failure(error) }
                isSettled.raise()
                host.settle(result)
            }
        }

        func close() async {
            work.cancel()
            let closing = Task { [host] in
                await self.work.value
                await (try? host.value())?.close()
            }
            // Nobody waits for a host that does not answer.
            if isSettled.isRaised { await closing.value }
        }
    }
}

/// What jobs that run at the same time share.
final class SharedByJobs: Sendable {
    /// Machines whose last backup is remembered.
    private static let stampLimit = 10_000

    /// Disks and machines that are read from hosts.
    let transfers: Slots
    /// One backup of a machine at a time, whatever the job.
    let machines = NamedLocks()
    /// Reads the beginning of a disk's export.
    let openDisk: @Sendable (any ByteSource) async throws -> any DiskSource
    private let clock: TimeSource
    private let stamps = Mutex<[String: Int64]>([:])

    init(
        transferLimit: Int, clock: TimeSource,
        openDisk: @escaping @Sendable (any ByteSource) async throws -> any DiskSource
    ) {
        transfers = Slots(count: transferLimit)
        self.openDisk = openDisk
        self.clock = clock
    }

    /// The time of a new backup of a machine, in Unix milliseconds: now, but in another second than the one before, since
    /// names of backups tell seconds only.
    func timestamp(of machine: String) -> Int64 {
        let now = clock.nanoseconds() / 1_000_000
        return stamps.withLock { stamps in
            let next = stamps[machine].map { max(now, ($0 / 1000 + 1) * 1000) } ?? now
            if stamps.count >= Self.stampLimit { stamps = stamps.filter { $0.value >= now } }
            stamps[machine] = next
            return next
        }
    }
}
