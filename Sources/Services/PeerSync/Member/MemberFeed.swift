package import BackupFormats
package import BackupServer
package import Logging
import PeerSyncProtocol
import Platform
package import StateDatabase
import Synchronization
package import Tasks

/// What this instance tells hubs: its datastores as repos and plans, its tasks and snapshots as operations.
///
/// It learns of tasks from their registry, and looks at the snapshots of a datastore after tasks that touch it, and every
/// few minutes. Where there is no hub it does nothing. Nobody waits for it, and it waits for no hub: sessions are told
/// what has changed, not given it. (Spec: backrest-sync §9.1.)
package final class MemberFeed: Sendable {
    /// Ended tasks that may wait to be looked at; where there are more, all tasks are looked at.
    static let maxWaitingTasks = 10_000
    private static let interval = Duration.seconds(1)
    private static let restAfterFailure = 30

    package let operations: OwnOperations
    let stores: DatastoreRegistry
    let tasks: TaskRegistry
    let database: StateDatabase
    let directory: PeerDirectory
    let settings: MemberSettings
    let time: TimeSource
    let log: Logger
    private let workers = WorkerPool(name: "peer operations", width: 1)

    private struct State {
        var isNeeded = false
        var isStale = true
        var ended: [UPID: TaskInfo] = [:]
        var withdrawn: Set<UPID> = []
        var listeners: [UInt64: MemberOutbox] = [:]
        var lastListener: UInt64 = 0
        var view: [StoreView] = []
        /// Looks that are left out after one that failed.
        var rest = 0
    }
    private let state = Mutex(State())
    /// Touched only on the worker's thread; the lock is for the compiler.
    let work = Mutex(FeedWork())

    package init(
        stores: DatastoreRegistry, tasks: TaskRegistry, database: StateDatabase, directory: PeerDirectory,
        settings: MemberSettings = MemberSettings(), time: TimeSource, log: Logger
    ) {
        self.stores = stores
        self.tasks = tasks
        self.database = database
        self.directory = directory
        self.settings = settings
        self.time = time
        self.log = log
        operations = OwnOperations(database: database, instanceID: directory.instanceID, time: time)
        tasks.observe { [weak self] task, change in self?.note(task, change) }
    }

    deinit { workers.close() }

    private func note(_ task: TaskInfo, _ change: TaskChange) {
        state.withLock { state in
            guard state.isNeeded, !state.isStale else { return }
            switch change {
            case .started: break
            case .ended: state.ended[task.upid] = task
            case .removed: state.withdrawn.insert(task.upid)
            }
            if state.ended.count + state.withdrawn.count > Self.maxWaitingTasks { state.isStale = true }
            if state.isStale {
                state.ended = [:]
                state.withdrawn = []
            }
        }
    }

    /// Whether there is a hub at all.
    func setNeeded(_ isNeeded: Bool) {
        state.withLock { state in
            if isNeeded, !state.isNeeded { state.isStale = true }
            state.isNeeded = isNeeded
        }
    }

    func run() async {
        while !Task.isCancelled {
            let mustLook = state.withLock { state in
                state.rest = max(0, state.rest - 1)
                return state.isNeeded && state.rest == 0
            }
            if mustLook, settings.isLooking { await round() }
            do { try await Task.sleep(for: Self.interval) } catch { return }
        }
    }

    /// Finds out which datastores there are: before that no hub may be told anything, or it would take all operations
    /// for gone.
    func prepare() async {
        guard settings.isLooking else { return }
        while !Task.isCancelled {
            do {
                return try await workers.run { [self] in
                    try work.withLock { work in
                        try findStores(&work)
                        setView(work.views)
                    }
                }
            } catch {
                log.warning("datastores for hubs cannot be found", metadata: ["reason": "\(error)"])
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Looks once at what may have changed.
    ///
    /// - Parameter isComplete: Whether all tasks and snapshots are looked at, however short ago that was.
    package func round(isComplete: Bool = false) async {
        do {
            try await workers.run { [self] in
                let (news, isStale) = state.withLock { state in
                    defer {
                        state.ended = [:]
                        state.withdrawn = []
                        state.isStale = false
                    }
                    return (FeedNews(ended: state.ended, withdrawn: state.withdrawn), state.isStale)
                }
                try work.withLock { try look(news, isStale: isStale || isComplete, &$0) }
            }
        } catch {
            state.withLock { state in
                state.isStale = true
                state.rest = Self.restAfterFailure
            }
            log.warning("operations for hubs cannot be written down", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: Sessions

    func subscribe(_ outbox: MemberOutbox) -> UInt64 {
        state.withLock { state in
            state.lastListener += 1
            state.listeners[state.lastListener] = outbox
            return state.lastListener
        }
    }

    func unsubscribe(_ number: UInt64) { state.withLock { $0.listeners[number] = nil } }

    /// Tells all sessions what has changed.
    package func tell(_ changes: OwnOperationChanges) {
        guard !changes.isEmpty else { return }
        for outbox in state.withLock({ Array($0.listeners.values) }) { outbox.note(changes) }
    }

    /// The datastores as hubs are told of them.
    package var view: [StoreView] { state.withLock { $0.view } }

    package func setView(_ view: [StoreView]) {
        let (listeners, areOthers) = state.withLock { state -> ([MemberOutbox], Bool) in
            guard state.view != view else { return ([], false) }
            let areOthers = state.view.map(\.guid) != view.map(\.guid)
            state.view = view
            return (Array(state.listeners.values), areOthers)
        }
        for outbox in listeners {
            outbox.want(.config, .resources)
            // Operations of datastores that come or go are listed, or not.
            if areOthers { outbox.want(.manifest) }
        }
    }

    /// Tells all sessions that the settings are other ones.
    func tellSettings() {
        for outbox in state.withLock({ Array($0.listeners.values) }) { outbox.want(.config, .resources) }
    }

    /// Says whether a hub may see operations of a repo, which must be a datastore of now, and a plan.
    private func filter(_ scope: MemberScope) -> (_ repo: String, _ guid: String, _ plan: String) -> Bool {
        let guids = Dictionary(view.map { ($0.name, $0.guid) }, uniquingKeysWith: { first, _ in first })
        return { repo, guid, plan in guids[repo] == guid && scope.mayReadOperations(repo: repo, plan: plan) }
    }

    /// Blocks.
    func manifest(for scope: MemberScope) throws -> (ids: [Int64], counters: [Int64]) {
        try operations.listed(where: filter(scope))
    }

    /// Blocks.
    func operations(_ ids: [Int64], for scope: MemberScope) throws -> [WireOperation] {
        try operations.operations(ids, where: filter(scope))
    }

    /// The operation whose log this is; nil where there is none that the hub may see. Blocks.
    func logOwner(_ id: String, for scope: MemberScope) throws -> Int64? {
        guard let found = try operations.operation(ofLog: id), filter(scope)(found.repo, found.guid, found.plan) else {
            return nil
        }
        return found.id
    }

    /// Until when a log is there at least, as far as its age goes; Unix seconds.
    func logExpiry(of task: UPID) -> Int64 { task.startTime + TaskRegistry.defaultDays * 86_400 }
}
