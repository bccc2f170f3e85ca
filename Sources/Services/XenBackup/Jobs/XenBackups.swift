package import BackupFormats
package import Logging
import Synchronization
package import Tasks
import VirtualDisks
import XenAPI

/// The methods of the proxy that deal with backups: jobs, listings, restores, deletion, tests of remotes.
/// (Spec: xo-proxy §2.4, §2.5, §5.)
package final class XenBackups: XenService {
    /// What the administrator may set for all jobs.
    package struct Configuration: Sendable {
        /// `backups.defaultSettings`, `backups.vm.defaultSettings`, `backups.metadata.defaultSettings`.
        package var defaultSettings = JSONObject()
        package var machineSettings = JSONObject()
        package var metadataSettings = JSONObject()
        package var snapshotName = NameTemplate.standard
        /// Disks and machines that are read from hosts at one time, over all jobs; bounds the memory of transfers.
        package var transferLimit = 8

        package init() {}
    }

    let repositories: any RepositoryOpening
    let hosts: any XenHostConnecting
    let configuration: Configuration
    let clock: TimeSource
    let logger: Logger
    /// What jobs that run at the same time share.
    let shared: SharedByJobs
    private let running = Mutex<Set<String>>([])

    package convenience init(
        repositories: any RepositoryOpening, hosts: any XenHostConnecting, configuration: Configuration = .init(),
        clock: TimeSource, logger: Logger
    ) {
        self.init(
            repositories: repositories, hosts: hosts, configuration: configuration, clock: clock, logger: logger,
            openDisk: { try await VHDReader.open($0) })
    }

    /// - Parameter openDisk: Reads the beginning of a disk's export.
    init(
        repositories: any RepositoryOpening, hosts: any XenHostConnecting, configuration: Configuration,
        clock: TimeSource, logger: Logger, openDisk: @escaping @Sendable (any ByteSource) async throws -> any DiskSource
    ) {
        self.repositories = repositories
        self.hosts = hosts
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        shared = SharedByJobs(transferLimit: configuration.transferLimit, clock: clock, openDisk: openDisk)
    }

    // MARK: Jobs

    package func runningJobs() -> [String] { running.withLock { $0.sorted() } }

    package func admit(_ parameters: JSONObject) throws {
        let job = parameters["job"]?.objectValue ?? [:]
        _ = try JobKind(of: job)
        guard let jobID = job["id"]?.stringValue else {
            throw BackupFailure(.invalidInput, "the job has no id")
        }
        guard running.withLock({ $0.insert(jobID).inserted }) else {
            throw BackupFailure(.conflict, "job is already running", cause: JobIsRunning(jobID: jobID))
        }
    }

    package func withdraw(_ parameters: JSONObject) {
        _ = running.withLock { $0.remove(parameters["job"]?["id"]?.stringValue ?? "") }
    }

    package func run(_ parameters: JSONObject, root: TaskNode) async throws {
        let job = parameters["job"]?.objectValue ?? [:]
        defer { withdraw(parameters) }
        let kind = try JobKind(of: job)
        let levels = JobSettingLevels(
            configuration: [
                configuration.defaultSettings,
                kind == .machines ? configuration.machineSettings : configuration.metadataSettings,
            ],
            job: job["settings"]?.objectValue ?? [:],
            scheduleID: parameters["schedule"]?["id"]?.stringValue ?? "")
        let context = try JobContext(
            parameters: parameters, job: job, levels: levels, root: root, configuration: configuration,
            repositories: repositories, connector: hosts, shared: shared, clock: clock, logger: logger)
        do {
            try await withTimeLimit(try levels.resolve().timeout, of: "the job") {
                switch kind {
                case .machines: try await MachineJob(context: context).run()
                case .metadata: try await MetadataJob(context: context).run()
                }
            }
        } catch {
            await context.hosts.close()
            throw error
        }
        await context.hosts.close()
    }
}

/// The types of jobs that are built.
enum JobKind {
    case machines, metadata

    init(of job: JSONObject) throws {
        switch job["type"]?.stringValue ?? "" {
        case "backup": self = .machines
        case "metadataBackup": self = .metadata
        case "mirrorBackup": throw BackupFailure(.unsupported, "mirror jobs are not supported yet")
        case let type: throw BackupFailure(.invalidInput, "No runner for the backup type \(type)")
        }
    }
}
