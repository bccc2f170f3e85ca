import BackupFormats
import Logging
import ManagementAPI
import Platform
import ServiceLifecycle
import StateDatabase
import Tasks
import XenBackup
import XenOrchestraProxy

/// The parts of the Xen Orchestra proxy, put together.
struct XenProxy {
    /// Time that jobs have to tidy up when the server stops.
    static let stopPatience = Duration.seconds(20)

    let trees: TaskTrees
    private let tokens: TokenStore
    private let repositories: RepositoryPool
    private let services: ProxyServices
    private let logger: Logger

    /// - Parameters:
    ///   - datastores: Those that may be remotes.
    ///   - command: What the administrator has set.
    init(
        datastores: ChunkStores, command: Serve, folder: StateFolder, tasks: TaskRegistry, workers: WorkerPool,
        time: TimeSource, logger: Logger
    ) throws {
        self.logger = logger
        var configuration = RepositoryPool.Configuration()
        configuration.allowsFileRemotes = command.xoAllowFileRemotes
        configuration.scratchFolder = try Self.scratchFolder(in: folder)
        repositories = RepositoryPool(
            configuration: configuration, mounter: Mounter(folder: folder.path(of: "mounts")), chunkStores: datastores,
            time: time, logger: logger)
        let xen = XenBackups(
            repositories: repositories, hosts: NetworkHosts(logger: logger), clock: time, logger: logger)
        trees = try TaskTrees(
            folder: folder.path(of: "xo-tasks"), registry: tasks, owner: .root, time: time, log: logger)
        tokens = try TokenStore(folder: folder, time: time, rotationDays: command.xoTokenDays)
        services = ProxyServices(xen: xen, trees: trees, tokens: tokens, workers: workers)
    }

    /// In front of what answers all other paths.
    func handler(before next: any RESTHandler) -> any RESTHandler {
        XenOrchestraProxy(before: next, tokens: tokens, services: services, log: logger)
    }

    /// Closes what jobs have used, when none runs any more.
    func close() async { await repositories.close() }

    /// Where parts of disks wait that do not fit into the memory.
    static func scratchFolder(in folder: StateFolder) throws -> String {
        let path = folder.path(of: "xo-scratch")
        do {
            try FileSystem.makeFolders(path, mode: 0o700)
        } catch {
            throw error.failure("The folder \(path) cannot be made")
        }
        return path
    }

    /// Tells once where the token stands.
    func announce() {
        guard tokens.isNew else { return }
        StandardStreams.print("Xen Orchestra proxy: token in \(tokens.path)\n")
    }
}

/// Ends the jobs when the server stops, while their callers are still connected.
struct XenShutdown: Service {
    let trees: TaskTrees

    func run() async throws {
        try? await gracefulShutdown()
        // A task of its own: it must not be cut short by a cancellation.
        await Task { await trees.shutDown(patience: XenProxy.stopPatience) }.value
    }
}
