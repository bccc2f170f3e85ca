import BackupFormats
import Tasks

extension JobWork {
    /// The jobs of a server.
    ///
    /// - Parameter sync: Nil where the server cannot synchronise.
    package init(maintenance: MaintenanceService, sync: SyncService?) {
        self.init(
            collect: { job, task in try await maintenance.collect(job.store, in: task) },
            prune: { job, task in try await maintenance.prune(job.pruneRequest, in: task) },
            verify: { job, task in try await maintenance.verify(job.verifyRequest, in: task) },
            sync: { job, task in
                guard let sync else {
                    throw BackupFailure(.unsupported, "\(job.id.label): this server cannot synchronise")
                }
                try await sync.run(try SyncRequest(properties: job.properties), in: task)
            },
            checkSync: { _ = try SyncRequest(properties: $0) })
    }
}

extension Job {
    fileprivate var maxDepth: Int { number("max-depth").map { Int($0) } ?? Namespace.maxDepth - namespace.depth }

    fileprivate var pruneRequest: PruneRequest {
        PruneRequest(
            store: store, namespace: namespace, maxDepth: maxDepth,
            options: PruneOptions(
                last: number("keep-last"), hourly: number("keep-hourly"), daily: number("keep-daily"),
                weekly: number("keep-weekly"), monthly: number("keep-monthly"), yearly: number("keep-yearly")))
    }

    fileprivate var verifyRequest: VerifyRequest {
        VerifyRequest(
            store: store, namespace: namespace, maxDepth: maxDepth,
            ignoresVerified: properties["ignore-verified"]?.boolValue ?? true,
            outdatedAfterDays: number("outdated-after"), readThreads: number("read-threads").map { Int($0) },
            verifyThreads: number("verify-threads").map { Int($0) })
    }
}
