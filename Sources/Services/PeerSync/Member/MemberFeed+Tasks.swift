import BackupFormats
import BackupServer
import Datastore
import PeerSyncProtocol
import StateDatabase
import Tasks

/// What the registry of tasks has told since the last look.
struct FeedNews {
    var ended: [UPID: TaskInfo]
    var withdrawn: Set<UPID>
}

/// What the feed remembers between two looks.
struct FeedWork {
    /// On which snapshot a running session works, once that is known.
    var sessions: [UPID: (snapshot: SnapshotName, namespace: Namespace)] = [:]
    var stores: [String: StoreNote] = [:]
    /// Unix seconds; of the last removal of old operations.
    var lastRemoval: Int64?
    /// Looks since the settings were looked at.
    var looks = 0
    var settings: String?
    /// Progress of running tasks as it was told.
    var told: [UPID: Double] = [:]

    var views: [StoreView] { stores.values.map(\.view).sorted { $0.name < $1.name } }

    /// A datastore, and when it was looked at.
    struct StoreNote {
        let path: String
        var view: StoreView
        var lastScan: ContinuousClock.Instant?
        var scanDuration = Duration.zero
        var isDirty = false
        /// Whether what manifests say may have changed unseen.
        var mustReadManifests = false
    }
}

extension MemberFeed {
    /// Of tasks that ended before anybody asked for them, so many are told of.
    private static let maxHistory = 5000
    private static let historyDays: Int64 = 31
    private static let longHistoryDays: Int64 = 365
    private static let batch = 200
    private static let looksBetweenSettings = 10
    private static let day: Int64 = 86_400

    private var maker: OperationMaker { OperationMaker(instanceID: directory.instanceID) }

    func look(_ news: FeedNews, isStale: Bool, _ work: inout FeedWork) throws {
        try findStores(&work)
        setView(work.views)
        try forgetWithdrawn(news.withdrawn, &work)
        if isStale {
            work.told = [:]
            try tellHistory(&work)
            for name in work.stores.keys { work.stores[name]?.isDirty = true }
        } else {
            try tell(
                news.ended.values.sorted { ($0.upid.startTime, $0.upid.taskID) < ($1.upid.startTime, $1.upid.taskID) },
                &work)
        }
        try tellRunning(&work)
        scan(&work, isStale: isStale)
        setView(work.views)
        try lookAtSettings(&work, isStale: isStale)
        try removeOld(&work)
    }

    private func lookAtSettings(_ work: inout FeedWork, isStale: Bool) throws {
        work.looks += 1
        guard isStale || work.looks >= Self.looksBetweenSettings else { return }
        work.looks = 0
        let settings = try settingsDigest()
        if let old = work.settings, old != settings { tellSettings() }
        work.settings = settings
    }

    private func removeOld(_ work: inout FeedWork) throws {
        let now = time.seconds
        if let last = work.lastRemoval, abs(now - last) < Self.day { return }
        work.lastRemoval = now
        try operations.removeOld()
    }

    // MARK: Tasks

    /// Tasks that were started and then taken back. Old ones whose entry is removed are no such: their operations stay.
    private func forgetWithdrawn(_ tasks: Set<UPID>, _ work: inout FeedWork) throws {
        guard !tasks.isEmpty else { return }
        let gone = try database.write { state in
            let ids = try tasks.compactMap { task -> Int64? in
                guard let record = try state.ownOperation(of: OwnSubject.task("\(task)")), record.content.isRunning
                else { return nil }
                return record.id
            }
            try state.removeOwnOperations(ids)
            return ids
        }
        for task in tasks { work.sessions[task] = nil }
        guard !gone.isEmpty else { return }
        var changes = OwnOperationChanges()
        changes.hasRemovals = true
        tell(changes)
    }

    /// All that ended within the time that hubs look back to, and what ran when the server died.
    private func tellHistory(_ work: inout FeedWork) throws {
        let now = time.seconds
        let filter = TaskFilter(limit: Self.maxHistory, since: now - Self.longHistoryDays * Self.day)
        let ended = try tasks.list(filter) { task in
            guard !task.isRunning else { return false }
            let isLong = ["garbage_collection", "verify", "verificationjob"].contains(task.upid.workerType)
            return isLong || task.upid.startTime >= now - Self.historyDays * Self.day
        }.tasks
        let known = Set(ended.map(\.upid))
        let interrupted = try database.read { try $0.runningOwnOperations() }.compactMap(OwnSubject.upid)
            .filter { !known.contains($0) && tasks.running($0) == nil }
            .map { upid in
                try tasks.info(upid)
                    ?? TaskInfo(upid: upid, endTime: upid.startTime, status: TaskStatus.interrupted)
            }
        let finished = try database.read { state in
            // An ended task never changes again.
            Set(
                try ended.filter { task in
                    try state.ownOperation(of: OwnSubject.task("\(task.upid)")).map { !$0.content.isRunning } ?? false
                }.map(\.upid))
        }
        try tell(interrupted + ended.reversed().filter { !finished.contains($0.upid) }, &work)
    }

    private func tell(_ ended: [TaskInfo], _ work: inout FeedWork) throws {
        var batch: [OwnOperationContent] = []
        for task in ended {
            batch += try contents(ofEnded: task, &work)
            if batch.count >= Self.batch {
                tell(try operations.put(batch))
                batch = []
            }
        }
        tell(try operations.put(batch))
    }

    private func tellRunning(_ work: inout FeedWork) throws {
        let running = try tasks.list(TaskFilter(limit: 0, isRunningOnly: true)) { _ in true }.tasks
        var contents: [OwnOperationContent] = []
        let known = Set(running.map(\.upid))
        work.told = work.told.filter { known.contains($0.key) }
        for task in running {
            let progress = OperationMaker.rounded(task.progress ?? 0)
            guard work.told[task.upid] != progress else { continue }
            guard let store = store(of: task.upid, work) else { continue }
            var facts = OperationMaker.TaskFacts(store: store)
            if task.upid.isSession {
                // Before it is known where it works, nobody can say who may see it.
                guard let session = try session(of: task.upid, in: store, &work) else { continue }
                facts.session = session
            }
            contents.append(try maker.operation(of: task, facts))
            work.told[task.upid] = progress
        }
        tell(try operations.put(contents))
    }

    /// The operations that tell of an ended task; also marks what it may have changed.
    private func contents(ofEnded task: TaskInfo, _ work: inout FeedWork) throws -> [OwnOperationContent] {
        guard let store = store(of: task.upid, work) else { return [] }
        let digest = try TaskLogDigest(of: task.upid, in: tasks)
        var facts = OperationMaker.TaskFacts(store: store, log: digest)
        facts.session = work.sessions.removeValue(forKey: task.upid) ?? digest.session
        if task.upid.isSession, facts.session == nil { return [] }
        var contents: [OwnOperationContent] = []
        switch task.upid.workerType {
        case "backup":
            let found = facts.session.flatMap { snapshot($0.snapshot, in: $0.namespace, of: store) }
            facts.manifest = found?.manifest
            contents.append(try maker.operation(of: task, facts))
            if let found {
                contents.append(
                    try maker.operation(
                        of: found.entry, manifest: found.manifest, in: store, fingerprint: found.entry.fingerprint))
                if !store.namespaces.contains(found.entry.namespace) { work.stores[store.name]?.isDirty = true }
            }
        case "garbage_collection":
            contents.append(try maker.operation(of: task, facts))
            if let datastore = try? stores.datastore(store.name, for: .read),
                let figures = try? datastore.lastCollection(), figures.task == "\(task.upid)"
            {
                let count = (try? datastore.counts().types.values.reduce(0) { $0 + $1.snapshots }) ?? 0
                contents.append(try maker.statistics(of: task, in: store, figures, snapshots: count))
            }
        case "reader": contents.append(try maker.operation(of: task, facts))
        default:
            contents.append(try maker.operation(of: task, facts))
            work.stores[store.name]?.isDirty = true
            if !["prune", "prunejob"].contains(task.upid.workerType) {
                work.stores[store.name]?.mustReadManifests = true
            }
        }
        return contents
    }

    private func snapshot(
        _ name: SnapshotName, in namespace: Namespace, of store: StoreView
    ) -> (entry: SnapshotEntry, manifest: Manifest?)? {
        guard let datastore = try? stores.datastore(store.name, for: .read),
            let entry = try? datastore.snapshot(name, in: namespace), entry.isFinished
        else { return nil }
        return (entry, try? datastore.manifest(of: name, in: namespace))
    }

    private func session(
        of task: UPID, in store: StoreView, _ work: inout FeedWork
    ) throws -> (snapshot: SnapshotName, namespace: Namespace)? {
        if let known = work.sessions[task] { return known }
        let text = "\(task)"
        let running = (try? stores.datastore(store.name, for: .read))?.sessions.running().first { $0.task == text }
        let found =
            try running.map { ($0.snapshot, $0.namespace) }
            ?? TaskLogDigest(of: task, in: tasks, isStart: true).session.map { ($0.snapshot, $0.namespace) }
        guard let found else { return nil }
        work.sessions[task] = (snapshot: found.0, namespace: found.1)
        return work.sessions[task]
    }

    /// The datastore that a task works on: the first part of its id, or for synchronisations a later one.
    private func store(of task: UPID, _ work: FeedWork) -> StoreView? {
        let parts = (task.workerID ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let place = ["sync", "syncjob"].contains(task.workerType) && parts.count > 2 ? 2 : 0
        return parts.indices.contains(place) ? work.stores[parts[place]]?.view : nil
    }
}

extension UPID {
    /// Whether it is a task of a session with a client, which works on one snapshot.
    fileprivate var isSession: Bool { workerType == "backup" || workerType == "reader" }
}
