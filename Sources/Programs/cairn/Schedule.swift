import BackupServer
import ServiceLifecycle

/// Runs what is due until the server stops.
struct Schedule: Service {
    let scheduler: JobScheduler

    func run() async throws {
        await cancelWhenGracefulShutdown { await scheduler.run() }
    }
}
