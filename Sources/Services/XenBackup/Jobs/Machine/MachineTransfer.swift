import BackupFormats
import Synchronization
import Tasks
import VirtualDisks
import XenAPI

/// The data of one machine, from the host to all targets at once. (Spec: xo-proxy §5.6 steps 10 to 12, §6.6.)
///
/// Each target has its task `export`; beside them runs one reader of the host. When all data is written, the snapshot is
/// marked as exported, and only then the backups become visible: a crash between both costs a full backup, the other way
/// round it would cost a chain with two ends.
struct MachineTransfer: Sendable {
    /// Pieces of a machine that wait for the slowest target.
    static let piecesAhead = 4
    static let pieceBytes = 1 << 20

    let backup: MachineBackup
    let mode: VMBackupMode
    let machine: ExportedMachine
    let base: BaseChoice?
    let lanes: [TargetLane]
    /// Some disk was sent as a difference; the host may have refused all of them.
    let hasDifference = Flag()

    private var host: any XenHost { backup.host }
    private var task: TaskNode { backup.task }

    /// - Throws: ``BackupFailure`` where no target has the backup in the end.
    func run() async throws {
        let disks = mode == .delta ? try await plan() : []
        let metadata = try await metadata(disks)
        let export = TargetLane.Export(
            plan: VMBackupPlan(
                mode: mode, jobID: backup.context.jobID, scheduleID: backup.context.scheduleID,
                timestamp: machine.stamp),
            metadata: metadata, isFull: !disks.contains { $0.base != nil })
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes { group.addTask { await lane.export(below: task, export) } }
            group.addTask { await feed(disks) }
        }
        if mode == .full { await clean() }
        guard lanes.contains(where: \.isCommitted) else { throw TargetLane.failure(of: lanes, step: "transfer") }
    }

    private func metadata(_ disks: [DiskPlan]) async throws -> VMBackupMetadata {
        try await MetadataRecords(backup: backup, machine: machine, mode: mode, disks: disks).collect()
    }

    /// Full backups have their tidying up beside the exports, not in them. (Spec: §5.5.)
    private func clean() async {
        for lane in lanes where lane.isCommitted {
            do {
                try await lane.target().clean(task: task)
            } catch {
                task.warning("the remote \(lane.repository.name) could not be cleaned", TaskFailure.json(error))
            }
        }
    }

    /// The disks of a delta backup, and which of them are sent as a difference.
    private func plan() async throws -> [DiskPlan] {
        var plans: [DiskPlan] = []
        for disk in machine.disks {
            var liveUUID = disk.uuid
            if let live = XenReference.of(disk.record["snapshot_of"]) {
                try await host.unlessGone {
                    liveUUID = try await host.field("VDI", live, "uuid").stringValue ?? liveUUID
                }
            }
            plans.append(DiskPlan(disk: disk, liveUUID: liveUUID, base: base?.disks[liveUUID], isMemory: false))
        }
        if let memory = machine.memory {
            plans.append(DiskPlan(disk: memory, liveUUID: memory.uuid, base: nil, isMemory: true))
        }
        return plans
    }

    // MARK: Reading

    /// Reads from the host for all lanes. What fails here fails them all.
    private func feed(_ disks: [DiskPlan]) async {
        do {
            for lane in lanes { _ = try? await lane.begun.value() }
            try check()
            switch mode {
            case .full: try await sendMachine()
            case .delta: try await send(disks)
            }
            try check()
            for lane in lanes { lane.transferred.succeed(lane.byteCount) }
            try await markAsExported()
            for lane in lanes { lane.marked.succeed(()) }
        } catch {
            for lane in lanes { lane.fail(error) }
        }
    }

    private func check() throws {
        try Task.checkCancellation()
        guard lanes.contains(where: \.isAlive) else { throw TargetLane.failure(of: lanes, step: "transfer") }
    }

    private func sendMachine() async throws {
        let isPlain = lanes.contains { $0.isAlive && $0.repository.prefersUncompressedExports }
        let wish = backup.context.job["compression"]?.stringValue ?? ""
        if isPlain, !wish.isEmpty {
            task.info("the machine is exported without compression, so that a chunk store can share its blocks")
        }
        let limit = machine.exportLimit
        try await backup.context.shared.transfers.hold {
            let transfer = try await host.exportMachine(
                machine.reference, compression: isPlain || wish.isEmpty ? nil : wish)
            try await ensuring({ await transfer.finish() }) {
                let tee = Tee<[UInt8]>(readers: lanes.count, depth: Self.piecesAhead)
                let source = LimitedSource(source: transfer, rate: backup.context.rate)
                let expected = transfer.byteCount ?? limit
                let progress = TransferProgress(lanes: lanes, total: expected)
                try await pump(tee) { lane, index in
                    lane.write({ try await $0.write(xva: TeeBytes(tee, reader: index), maxByteCount: limit) }) {
                        tee.drop(index)
                    }
                } next: {
                    guard let piece = try await source.read(upTo: Self.pieceBytes) else { return nil }
                    progress.add(piece.count)
                    return piece
                }
            }
        }
    }

    /// The disks, some at a time.
    private func send(_ disks: [DiskPlan]) async throws {
        let wish = backup.settings.diskPerVMConcurrency
        let width = min(wish == 0 ? DiskTransfer.widthLimit : wish, DiskTransfer.widthLimit)
        let progress = TransferProgress(lanes: lanes, total: disks.reduce(0) { $0 &+ $1.disk.size })
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (started, disk) in disks.enumerated() {
                if started >= width { try await group.next() }
                group.addTask {
                    try await backup.context.shared.transfers.hold {
                        try await DiskTransfer(transfer: self, disk: disk, progress: progress).run()
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Has every lane that is left write what `next` gives, until its end; returns when all have written it or failed.
    func pump<Item: Sendable>(
        _ tee: Tee<Item>, start: (TargetLane, Int) -> Task<Void, Never>?, next: () async throws -> Item?
    ) async throws {
        let writes = lanes.enumerated().compactMap { start($1, $0) }
        do {
            while let item = try await next() {
                guard try await tee.send(item) else { throw TargetLane.failure(of: lanes, step: "transfer") }
            }
            tee.finish(.success(()))
        } catch {
            tee.finish(.failure(error))
            throw error
        }
        for write in writes { await write.value }
    }

    // MARK: Marks

    /// Step 11: the snapshot may be the base of the next delta.
    private func markAsExported() async throws {
        guard mode == .delta else { return }
        let chainLength = hasDifference.isRaised ? (base?.chainLength ?? 0) + 1 : 0
        let objects = [("VM", machine.reference)] + machine.disks.map { ("VDI", $0.reference) }
        for (kind, reference) in objects {
            try await host.setOtherConfig(kind, reference, BackupMarkKey.chainLength, String(chainLength))
            try await host.setOtherConfig(kind, reference, BackupMarkKey.exported, "true")
        }
    }
}

/// How much of a transfer has come, told to the task `transfer` of each target.
final class TransferProgress: Sendable {
    private let lanes: [TargetLane]
    private let total: UInt64
    private let done = Mutex<UInt64>(0)

    init(lanes: [TargetLane], total: UInt64) {
        self.lanes = lanes
        self.total = total
    }

    func add(_ byteCount: Int) {
        let fraction = done.withLock { done in
            done &+= UInt64(byteCount)
            return Double(done) / Double(max(total, 1))
        }
        // The estimate may be short; the end is for the task to tell.
        for lane in lanes { lane.progress(min(fraction, 0.99)) }
    }
}
