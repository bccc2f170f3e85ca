import BackupFormats
import Synchronization
import Tasks
import XenAPI

/// A job of type `backup`: its machines, some at a time, each in a task of its own. (Spec: xo-proxy §5.5, §5.6.)
struct MachineJob {
    let context: JobContext

    func run() async throws {
        let settings = try context.levels.resolve()
        let remotes = try SimpleIDPattern.ids(of: context.job["remotes"])
        let storages = try SimpleIDPattern.ids(of: context.job["srs"])
        let machines = try await MachineList(context: context).uuids()
        context.root.info("vms", ["vms": .array(machines.map { .string($0) })])
        await refuseReplication(to: storages)
        let repositories = await context.openRemotes(remotes, timeout: settings.remoteTimeout)
        await back(up: machines, to: repositories, settings)
        await inAnyCase { for repository in repositories { await repository.close() } }
        try Task.checkCancellation()
    }

    private func refuseReplication(to storages: [String]) async {
        for storage in storages {
            let isWanted = (try? context.levels.resolve(target: storage).copyRetention) != 0
            guard isWanted else { continue }
            await context.root.tell(
                BackupFailure(.unsupported, "replication is not supported yet"), as: "get SR record",
                ["type": "SR", "id": .string(storage)])
        }
    }

    private func back(up machines: [String], to repositories: [any XenRepository], _ settings: JobSettings) async {
        let slots = Slots(count: settings.concurrency)
        let done = DoneCount(of: machines.count)
        await withTaskGroup(of: Void.self) { group in
            for uuid in machines {
                // Queued here and not in the task, so that machines start in the order of the job.
                let turn = slots.enqueue()
                group.addTask {
                    await run(uuid, slots, turn, repositories)
                    context.root.progress(done.add())
                }
            }
        }
    }

    private func run(_ uuid: String, _ slots: Slots, _ turn: Slots.Turn, _ repositories: [any XenRepository]) async {
        // Cancelled while it waited: the machine's task never starts.
        guard (try? await slots.take(turn)) != nil else { return }
        let found = await find(uuid)
        var properties: JSONObject = ["type": "VM", "id": .string(uuid)]
        if case .success(let machine) = found { properties["name_label"] = machine.vm.fields["name_label"] }
        let holder = SlotHolder(slots)
        try? await context.root.run("backup VM", properties) { task in
            try await attempts(uuid, found, task, holder, repositories)
        }
        holder.giveBack()
    }

    /// Backs a machine up, and again as often as the settings say; between attempts other machines have their turn.
    private func attempts(
        _ uuid: String, _ found: Result<FoundMachine, any Error>, _ task: TaskNode, _ holder: SlotHolder,
        _ repositories: [any XenRepository]
    ) async throws {
        let settings = try context.levels.resolve(vm: uuid)
        var found = found
        for attempt in 1... {
            do {
                let machine = try found.get()
                return try await withTimeLimit(settings.vmTimeout, of: "the backup of the VM") {
                    // Another job may be at the same machine.
                    try await context.shared.machines.hold(uuid) {
                        try await MachineBackup(
                            context: context, settings: settings, host: machine.host, vm: machine.vm, task: task,
                            repositories: repositories
                        ).run()
                    }
                }
            } catch {
                guard attempt <= settings.retries, !isCancellation(error), !Task.isCancelled else { throw error }
                task.warning(
                    "Retry the VM backup due to an error",
                    ["attempt": .integer(attempt), "error": TaskFailure.json(error), "isRetry": true])
                try await holder.queueAgain()
                found = await find(uuid)
            }
        }
    }

    private func find(_ uuid: String) async -> Result<FoundMachine, any Error> {
        do {
            let host = try await context.hosts.host(for: uuid)
            return .success(FoundMachine(host: host, vm: try await host.record("VM", uuid: uuid)))
        } catch {
            return .failure(error)
        }
    }
}

/// A machine and where it lives.
private struct FoundMachine: Sendable {
    let host: any XenHost
    let vm: XenRecord
}

/// A slot that is given back once, and may be waited for again.
private final class SlotHolder: Sendable {
    private let slots: Slots
    private let isHeld = Mutex(true)

    init(_ slots: Slots) { self.slots = slots }

    func giveBack() {
        let wasHeld = isHeld.withLock { isHeld in
            defer { isHeld = false }
            return isHeld
        }
        if wasHeld { slots.giveBack() }
    }

    /// Lets all go first who are waiting already.
    func queueAgain() async throws {
        let turn = slots.enqueue()
        giveBack()
        try await slots.take(turn)
        isHeld.withLock { $0 = true }
    }
}

/// How much of a job is done.
private final class DoneCount: Sendable {
    private let total: Int
    private let done = Mutex(0)

    init(of total: Int) { self.total = total }

    /// One more; the fraction that is done.
    func add() -> Double {
        done.withLock { done in
            done += 1
            return Double(done) / Double(max(total, 1))
        }
    }
}
