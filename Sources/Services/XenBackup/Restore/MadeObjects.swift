import BackupFormats
import Logging
import XenAPI

/// What a restore has made on a host, to be destroyed if it comes to nothing.
actor MadeObjects {
    private let host: any XenHost
    private let logger: Logger
    private var machines: [String] = []
    private var disks: [String] = []

    init(host: any XenHost, logger: Logger) {
        self.host = host
        self.logger = logger
    }

    func add(machine: String) { machines.append(machine) }
    func add(disk: String) { disks.append(disk) }

    /// Destroys all of it, machines first, as far as that is possible.
    ///
    /// - Returns: A sentence for each object that is left.
    func destroyAll() async -> [String] {
        var problems: [String] = []
        for machine in machines {
            do { try await host.destroyMachine(machine) } catch {
                problems.append("the machine \(machine) of the failed restore is left on the host: \(error)")
            }
        }
        for disk in disks {
            do { try await host.destroyDisk(disk) } catch {
                problems.append("the disk \(disk) of the failed restore is left on the host: \(error)")
            }
        }
        for problem in problems { logger.warning("\(problem)") }
        machines = []
        disks = []
        return problems
    }
}
