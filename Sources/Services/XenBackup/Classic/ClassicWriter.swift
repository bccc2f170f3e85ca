import BackupFormats
import Logging
import Synchronization
import VirtualDisks

/// A backup in the classic layout while it is written: data under hidden names that are checked and renamed, the metadata
/// last and in one step. (Spec: xo-proxy §4.7.)
final class ClassicWriter: VMBackupWriter {
    private struct State {
        /// What `abort` removes, in the order in which it was begun.
        var paths: [String] = []
        var disks: [(reference: String, path: String, isDifferencing: Bool)] = []
        var xva: String?
        var byteCount: UInt64 = 0
        var mayBeListed = false
    }

    private let folder: MachineFolder
    private let plan: VMBackupPlan
    private let lock: any RemoteLock
    private let state = Mutex(State())

    init(folder: MachineFolder, plan: VMBackupPlan, lock: any RemoteLock) {
        self.folder = folder
        self.plan = plan
        self.lock = lock
    }

    private var date: String { BackupDate.text(plan.timestamp) }
    var metadataName: String { "\(date).json" }

    func write(xva: any ByteSource, maxByteCount: UInt64) async throws -> UInt64 {
        precondition(plan.mode == .full, "only full backups have an XVA")
        let path = folder.path("\(date).xva")
        let checksum = path + XVAChecksum.suffix
        state.withLock { $0.paths += [path, checksum] }
        let intake = XVAIntake(xva)
        let byteCount = try await folder.files.write(path, from: intake, maxByteCount: maxByteCount, .replace)
        try await folder.files.write(checksum, XVAChecksum.text(intake.checksum), .replace)
        state.withLock { state in
            state.xva = "./\(date).xva"
            state.byteCount += byteCount
        }
        return byteCount
    }

    func write(disk: VMBackupDisk, from source: any DiskSource) async throws -> UInt64 {
        precondition(plan.mode == .delta, "only delta backups have disks")
        try ClassicPath.requireName(disk.liveUUID, of: "disk")
        let disks = DiskFolder(machine: folder, job: plan.jobID, disk: disk.liveUUID)
        let path = disks.path("\(date).vhd")
        state.withLock { $0.paths.append(path) }
        let byteCount = try await disks.write(disk, from: source, name: "\(date).vhd", milliseconds: plan.timestamp)
        let relative = String(path.dropFirst(folder.path.utf8.count + 1))
        state.withLock { state in
            state.disks.append((disk.reference, relative, source.isDifferencing))
            state.byteCount += byteCount
        }
        return byteCount
    }

    func commit(_ metadata: VMBackupMetadata) async throws -> String {
        let (xva, disks, byteCount) = state.withLock { ($0.xva, $0.disks, $0.byteCount) }
        var json = metadata.json
        json["size"] = .integer(byteCount)
        switch plan.mode {
        case .full:
            guard let xva else { throw BackupFailure(.internalFault, "A full backup has no data yet") }
            json["xva"] = .string(xva)
        case .delta:
            // In the order of `vdis`, whichever disk came first.
            let order = metadata.vdis.members.map(\.name)
            let sorted = disks.sorted {
                (order.firstIndex(of: $0.reference) ?? order.count, $0.reference)
                    < (order.firstIndex(of: $1.reference) ?? order.count, $1.reference)
            }
            json["vhds"] = .object(JSONObject(sorted.map { .init(name: $0.reference, value: .string($0.path)) }))
            json["isVhdDifferencing"] = .object(
                JSONObject(sorted.map { .init(name: $0.reference, value: .bool($0.isDifferencing)) }))
        }
        try lock.requireHeld()
        let written = VMBackupMetadata(json)
        do {
            try await folder.write(written, metadataName, .new)
        } catch {
            // Where it existed before it is not ours.
            if (error as? BackupFailure)?.kind != .conflict { state.withLock { $0.mayBeListed = true } }
            throw error
        }
        await ClassicCache(folder: folder).update([metadataName: written])
        return folder.id(metadataName)
    }

    func abort() async {
        let (paths, mayBeListed) = state.withLock { ($0.paths, $0.mayBeListed) }
        let folder = folder
        let metadata = folder.path(metadataName)
        // Also when the work is cancelled. What cannot be removed now, the next clean removes.
        await Task {
            if mayBeListed {
                do {
                    try await folder.files.remove(metadata)
                } catch {
                    return folder.logger.warning("The backup \(metadata) was not taken back: \(error)")
                }
            }
            for path in paths {
                do {
                    try await folder.files.remove(path)
                } catch {
                    folder.logger.warning("\(path) was left behind by a backup that failed: \(error)")
                }
            }
        }.value
    }
}
