import BackupFormats
import Synchronization
import Tasks
import VirtualDisks
import XenAPI

/// One disk, from the host to all targets. (Spec: xo-proxy §6.5, §6.6.)
struct DiskTransfer: Sendable {
    /// Disks of one machine at a time, where the settings name no or a larger number; bounds memory.
    static let widthLimit = 4
    /// Blocks that wait for the slowest target.
    static let blocksAhead = 2

    let transfer: MachineTransfer
    let disk: DiskPlan
    let progress: TransferProgress

    func run() async throws {
        let (opened, base) = try await open()
        if base != nil { transfer.hasDifference.raise() }
        let written = VMBackupDisk(
            reference: disk.disk.reference, liveUUID: disk.liveUUID, uuid: disk.disk.uuid, baseUUID: base?.uuid,
            isMemory: disk.isMemory)
        try await ensuring({ await opened.transfer.finish() }) {
            let source = opened.source
            let tee = Tee<DiskBlock>(readers: transfer.lanes.count, depth: Self.blocksAhead)
            let position = Mutex(0)
            try await transfer.pump(tee) { lane, index in
                lane.write({ try await $0.write(disk: written, from: TeeDisk(tee, reader: index, of: source)) }) {
                    tee.drop(index)
                }
            } next: {
                guard let block = try await source.nextBlock() else { return nil }
                // How far the disk is read; blocks that do not come count with those behind them.
                let step = position.withLock { position in
                    defer { position = max(position, block.index + 1) }
                    return max(0, block.index + 1 - position)
                }
                progress.add(step * DiskGeometry.blockBytes)
                return block
            }
        }
    }

    private struct Opened: Sendable {
        let transfer: any XenTransfer
        let source: any DiskSource
    }

    /// Opens the export; one that the host cannot give relative to the base is taken whole.
    private func open() async throws -> (Opened, base: LiveDisk?) {
        guard let base = disk.base else { return (try await open(base: nil), nil) }
        do {
            let opened = try await open(base: base.reference)
            guard opened.source.isDifferencing else {
                return (opened, nil)
            }
            return (opened, base)
        } catch {
            guard !isCancellation(error), !Task.isCancelled else { throw error }
            transfer.backup.task.warning(
                "can't compute delta \(disk.disk.name), fall back to a full", TaskFailure.json(error))
            return (try await open(base: nil), nil)
        }
    }

    private func open(base: String?) async throws -> Opened {
        let export = try await transfer.backup.host.exportDisk(disk.disk.reference, base: base)
        do {
            let source = try await transfer.backup.context.shared.openDisk(
                LimitedSource(source: export, rate: transfer.backup.context.rate))
            return Opened(transfer: export, source: source)
        } catch {
            await inAnyCase { await export.finish() }
            throw error
        }
    }
}
