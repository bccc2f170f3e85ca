import BackupFormats
import Logging
package import Tasks

extension ClassicRepository {
    /// Metadata is removed before data, so that nothing is listed whose data is gone; disks are left to the clean that
    /// follows, which is tried only. (Spec: xo-proxy §2.5.)
    package func deleteVMBackups(_ ids: [String], task: TaskNode) async throws {
        let places = try ids.map(ClassicBackupID.init(parsing:))
        var machines: [String] = []
        for place in places {
            if !machines.contains(place.vm) { machines.append(place.vm) }
            try await delete(place)
        }
        // Without locks a clean could take away what a running backup has just written.
        guard files.capabilities.isFileSystem else { return }
        for vm in machines {
            do {
                let lock = try await files.lock(machine(vm).path, patience: .zero)
                do {
                    try await ClassicClean(repository: self, folder: machine(vm), lock: lock).run(task, merges: false)
                } catch {
                    logger.warning("The machine \(vm) was not cleaned after a deletion: \(error)")
                }
                await lock.release()
            } catch {
                logger.info("The machine \(vm) is not cleaned after a deletion now: \(error)")
            }
        }
    }

    private func delete(_ place: ClassicBackupID) async throws {
        let folder = machine(place.vm)
        let cache = ClassicCache(folder: folder)
        do {
            let metadata = try await folder.metadata(place.name)
            guard let mode = VMBackupMode(rawValue: metadata.mode) else {
                throw BackupFailure(.unsupported, "no deleter for backup modes: \(metadata.mode)")
            }
            try await files.remove(folder.path(place.name))
            if mode == .full, let data = folder.dataPath(of: metadata) {
                try await files.remove(data)
                try await files.remove(data + XVAChecksum.suffix)
            }
        } catch let failure as BackupFailure where failure.kind == .corruptData {
            // Nobody can restore it; its disks are unreferenced from now on.
            try await files.remove(folder.path(place.name))
        } catch let failure as BackupFailure where failure.kind == .notFound {}
        await cache.update([place.name: nil])
    }
}

extension MachineFolder {
    /// Where the XVA of a full backup lies; nil where its metadata names none below this folder.
    func dataPath(of metadata: VMBackupMetadata) -> String? {
        metadata.json["xva"]?.stringValue.flatMap { ClassicPath.resolve($0, in: path, within: path) }
    }
}
