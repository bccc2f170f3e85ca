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
    let tokens: TokenStore
    private let services: ProxyServices
    private let logger: Logger

    init(
        xen: any XenService, folder: StateFolder, tasks: TaskRegistry, workers: WorkerPool, rotationDays: Int?,
        time: TimeSource, logger: Logger
    ) throws {
        self.logger = logger
        trees = try TaskTrees(
            folder: folder.path(of: "xo-tasks"), registry: tasks, owner: .root, time: time, log: logger)
        tokens = try TokenStore(folder: folder, time: time, rotationDays: rotationDays)
        services = ProxyServices(xen: xen, trees: trees, tokens: tokens, workers: workers)
    }

    /// In front of what answers all other paths.
    func handler(before next: any RESTHandler) -> any RESTHandler {
        XenOrchestraProxy(before: next, tokens: tokens, services: services, log: logger)
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
