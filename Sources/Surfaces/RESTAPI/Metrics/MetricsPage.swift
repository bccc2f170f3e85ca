import BackupFormats
import BackupServer
import Datastore
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Platform
import StateDatabase
import Crypto
import Tasks

/// The page `/metrics` for Prometheus: behind a token of its own, which opens nothing else.
package struct MetricsPage: Sendable {
    /// A shorter token is refused at start.
    package static let minTokenLength = 16
    static let path = "/metrics"
    /// Plans of members on the page.
    private static let maxPlans = 10_000

    private let token: SHA256.Digest

    /// - Parameter token: What `Authorization: Bearer …` must hold; blanks around it do not count.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for a token that is easily guessed.
    package init(token: String) throws {
        let bytes = Self.trimmed(token[...])
        guard bytes.count >= Self.minTokenLength, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw BackupFailure(
                .invalidInput, "The token for metrics is shorter than \(Self.minTokenLength) characters or not plain")
        }
        self.token = SHA256.hash(data: bytes)
    }

    func opens(to request: RESTRequest) -> Bool {
        guard let value = request.header("authorization"), value.lowercased().hasPrefix("bearer ") else { return false }
        // Digests are compared, so that the time it takes says nothing about the token.
        return SHA256.hash(data: Self.trimmed(value.dropFirst("bearer ".count))) == token
    }

    private static func trimmed(_ text: Substring) -> [UInt8] {
        Array(text.utf8.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 }

    /// The page's text. Blocks.
    func text(_ services: RESTServices, peers: [PeerOverview], results: [PlanResult]) throws -> String {
        var page = PrometheusText()
        page.add("cairn_build_info", .gauge, "The version that runs", [([("version", services.node.version)], 1)])
        Self.addStores(to: &page, services)
        try Self.addJobs(to: &page, services)
        Self.addTasks(to: &page, services)
        Self.addPeers(to: &page, peers)
        Self.addPlans(to: &page, results)
        Self.addTraffic(to: &page, services)
        for (name, kind, help, value) in ProcessFigures.read() { page.add(name, kind, help, value) }
        return page.text
    }

    private static func addPeers(to page: inout PrometheusText, _ peers: [PeerOverview]) {
        struct Label: Hashable {
            let role: String
            let state: String
        }
        let counts = Dictionary(
            grouping: peers, by: { Label(role: PeerJSON.word($0.peer.role), state: PeerJSON.word($0.state)) }
        ).mapValues(\.count).sorted { ($0.key.role, $0.key.state) < ($1.key.role, $1.key.state) }
        page.add(
            "cairn_peers", .gauge, "Other instances that this one knows",
            counts.map { ([("role", $0.key.role), ("state", $0.key.state)], Double($0.value)) })
        page.add(
            "cairn_peer_operations", .gauge, "Operations of a member that are kept here",
            peers.filter { $0.peer.role == .member }.map { ([("peer", $0.peer.instanceID)], Double($0.operations)) })
    }

    /// The last backup of each plan of each member.
    private static func addPlans(to page: inout PrometheusText, _ results: [PlanResult]) {
        // A page that has a line twice is refused whole, and members choose the names.
        var known: Set<[String]> = []
        let results = results.prefix(maxPlans).filter { known.insert([$0.instanceID, $0.plan, $0.repo]).inserted }
        func add(_ name: String, _ help: String, _ value: (PlanResult) -> Double?) {
            page.add(
                name, .gauge, help,
                results.compactMap { result in
                    value(result).map {
                        ([("peer", result.instanceID), ("plan", result.plan), ("repo", result.repo)], $0)
                    }
                })
        }
        add("cairn_peer_plan_overdue", "Whether the plan of a member should have been backed up") {
            $0.overdueSince == nil ? 0 : 1
        }
        add("cairn_peer_plan_failed", "Whether the last backup of the plan failed or was cut off") { result in
            result.last.map { PeerJSON.failed.contains($0.stored.record.status) ? 1 : 0 }
        }
        add("cairn_peer_plan_last_backup_timestamp_seconds", "When the last backup of the plan ended") { result in
            result.last.map { Double($0.stored.record.end) / 1000 }
        }
    }

    private static func addStores(to page: inout PrometheusText, _ services: RESTServices) {
        typealias Values = [(labels: [(String, String)], value: Double)]
        var (isUp, size, used, free, sessions): (Values, Values, Values, Values, Values) = ([], [], [], [], [])
        for record in services.stores.records {
            let label = [("datastore", record.name)]
            guard let store = try? services.stores.datastore(record.name, for: .read), let space = try? store.usage()
            else {
                isUp.append((label, 0))
                continue
            }
            isUp.append((label, 1))
            size.append((label, Double(space.total)))
            used.append((label, Double(space.used)))
            free.append((label, Double(space.available)))
            sessions.append((label, Double(store.sessions.activeCount)))
        }
        page.add("cairn_datastore_up", .gauge, "Whether the datastore can be read", isUp)
        page.add("cairn_datastore_size_bytes", .gauge, "Size of the datastore's file system", size)
        page.add("cairn_datastore_used_bytes", .gauge, "Used space of the datastore's file system", used)
        page.add("cairn_datastore_available_bytes", .gauge, "Space that the datastore can still take", free)
        page.add("cairn_datastore_active_sessions", .gauge, "Sessions and tasks that use the datastore", sessions)
        addCollections(to: &page, services)
        let counts = services.alerts.groupCounts.sorted { $0.key < $1.key }
        page.add(
            "cairn_datastore_groups", .gauge, "Groups, as counted in the last minutes",
            counts.map { ([("datastore", $0.key)], Double($0.value.groups)) })
        page.add(
            "cairn_datastore_snapshots", .gauge, "Snapshots, as counted in the last minutes",
            counts.map { ([("datastore", $0.key)], Double($0.value.snapshots)) })
        page.add(
            "cairn_datastore_newest_snapshot_timestamp_seconds", .gauge, "Time of the newest snapshot",
            counts.compactMap { store, counts in
                counts.newest.map { ([("datastore", store)], Double($0)) }
            })
        page.add(
            "cairn_datastore_overdue_groups", .gauge, "Groups that should have been backed up",
            counts.map { ([("datastore", $0.key)], Double($0.value.overdue)) })
    }

    private static func addCollections(to page: inout PrometheusText, _ services: RESTServices) {
        let all = services.stores.records.compactMap { record -> (name: String, status: CollectionStatus)? in
            guard let store = try? services.stores.datastore(record.name, for: .read),
                let status = try? store.lastCollection()
            else { return nil }
            return (record.name, status)
        }
        func add(_ name: String, _ help: String, _ value: (CollectionStatus) -> Int64?) {
            page.add(
                name, .gauge, "\(help), by the last garbage collection",
                all.compactMap { store, status in
                    value(status).map { ([("datastore", store)], Double($0)) }
                })
        }
        add("cairn_collection_timestamp_seconds", "When it started") { status in
            status.task.flatMap { try? UPID(parsing: $0) }?.startTime
        }
        add("cairn_collection_chunks", "Chunks that stayed") { $0.diskChunkCount }
        add("cairn_collection_chunk_bytes", "Bytes of chunks that stayed") { $0.diskByteCount }
        add("cairn_collection_logical_bytes", "Bytes of all backups before deduplication") { $0.indexDataByteCount }
        add("cairn_collection_removed_chunks", "Chunks that were removed") { $0.removedChunkCount }
        add("cairn_collection_removed_bytes", "Bytes of chunks that were removed") { $0.removedByteCount }
        add("cairn_collection_bad_chunks", "Corrupt chunks that were not healed") { $0.stillBadCount }
    }

    private static func addJobs(to page: inout PrometheusText, _ services: RESTServices) throws {
        let all = try services.jobs.jobs().map { job in
            let (kind, name) = job.id.metricLabels
            return (
                labels: [("kind", kind), ("job", name), ("datastore", job.store)],
                status: try services.jobs.status(of: job)
            )
        }
        func add(_ name: String, _ help: String, _ value: (JobStatus) -> Double?) {
            page.add(
                name, .gauge, help, all.compactMap { job in value(job.status).map { (job.labels, $0) } })
        }
        add("cairn_job_running", "Whether the job runs now") { $0.isRunning ? 1 : 0 }
        add("cairn_job_overdue", "Whether the job should have run and ended well") { $0.overdueSince == nil ? 0 : 1 }
        add("cairn_job_next_run_timestamp_seconds", "When the job is due next") { $0.nextRun.map { Double($0) } }
        add("cairn_job_last_run_timestamp_seconds", "When the job's last run ended") {
            $0.lastRunEndTime.map { Double($0) }
        }
        add("cairn_job_last_run_duration_seconds", "How long the job's last run took") {
            $0.duration.map { Double($0) }
        }
        add("cairn_job_last_run_success", "Whether the job's last run ended without an error") {
            $0.lastRunState.map { [.ok, .warning].contains(TaskStatus.classify($0)) ? 1 : 0 }
        }
    }

    private static func addTasks(to page: inout PrometheusText, _ services: RESTServices) {
        let counts = services.tasks.counts
        page.add(
            "cairn_tasks_running", .gauge, "Tasks that run now",
            counts.running.sorted { $0.key < $1.key }.map { ([("type", $0.key)], Double($0.value)) })
        page.add(
            "cairn_tasks_ended_total", .counter, "Tasks that ended since the server started",
            TaskStatusClass.allCases.map { ([("status", $0.rawValue)], Double(counts.ended[$0] ?? 0)) })
    }

    private static func addTraffic(to page: inout PrometheusText, _ services: RESTServices) {
        let figures = services.sessions.traffic.figures
        page.add("cairn_sessions_open", .gauge, "Backup and reader sessions", Double(services.sessions.sessionCount))
        page.add(
            "cairn_http_requests_total", .counter, "Requests to the API by the class of their answer",
            (2...5).map { ([("code", "\($0)xx")], Double(figures.answers[$0] ?? 0)) })
        page.add(
            "cairn_chunks_received_total", .counter, "Chunks from backup sessions", Double(figures.receivedChunks))
        page.add(
            "cairn_duplicate_chunks_total", .counter, "Chunks from backup sessions that were there already",
            Double(figures.duplicateChunks))
        page.add(
            "cairn_received_bytes_total", .counter, "Encoded bytes of chunks from backup sessions",
            Double(figures.receivedBytes))
        page.add(
            "cairn_sent_bytes_total", .counter, "Encoded bytes of chunks to reader sessions", Double(figures.sentBytes))
    }
}

extension JobID {
    fileprivate var metricLabels: (kind: String, name: String) {
        switch self {
        case .garbageCollection(let store): ("garbage-collection", store)
        case .storePrune(let store): ("datastore-prune", store)
        case .configured(let section, let name): (section.rawValue, name)
        }
    }
}
