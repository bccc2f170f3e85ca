import BackupFormats
import Tasks

/// Puts the folder of one machine in order, under its lock: removes what belongs to no backup, takes incomplete backups out
/// of the list, merges disks that no backup needs any more into the next that one does. (Spec: xo-proxy §4.10.)
///
/// What cannot be read for another reason than being damaged is left alone, with everything that may depend on it. A single
/// repair that fails is a warning; the next run tries again.
struct ClassicClean: Sendable {
    let repository: ClassicRepository
    let folder: MachineFolder
    let lock: any RemoteLock

    var files: any RemoteFiles { folder.files }

    /// - Parameter merges: Whether disks are merged; without, chains that wait for it stay as they are.
    func run(_ task: TaskNode, merges: Bool) async throws {
        try await task.run("clean-vm") { task in
            let names = try await folder.names()
            let (read, damaged) = try await folder.allMetadata(names.filter(ClassicPath.isMetadata))
            for name in damaged.sorted() {
                task.warning("The metadata of a backup is damaged", ["path": .string(folder.id(name))])
            }
            var listing = MachineListing(folder: folder, metadata: read, damaged: damaged)
            try await cleanFullBackups(&listing, names, task)
            try await cleanDisks(&listing, task, merges: merges)
        }
    }

    /// Full backups whose data is gone, and files that belong to no backup.
    private func cleanFullBackups(_ listing: inout MachineListing, _ names: [String], _ task: TaskNode) async throws {
        var kept: Set<String> = []
        for (name, metadata) in listing.sorted where metadata.mode == VMBackupMode.full.rawValue {
            guard let path = folder.dataPath(of: metadata) else {
                task.warning("A full backup names no XVA", ["path": .string(folder.id(name))])
                continue
            }
            let data = String(path.dropFirst(folder.path.utf8.count + 1))
            if try await isMissing(path, data, names) {
                task.warning("The XVA of a backup is missing", ["path": .string(folder.id(name))])
                try await remove(&listing, name, task)
                continue
            }
            kept.formUnion([data, data + XVAChecksum.suffix])
            if let reason = try await XVAGlance(files: files).fault(of: path) {
                task.warning("The XVA of a backup looks damaged: \(reason)", ["path": .string("/\(path)")])
            }
        }
        for name in names where !kept.contains(name) && !listing.mayOwn(name) {
            guard Self.isHidden(name) || name.hasSuffix(".xva") || name.hasSuffix(".xva" + XVAChecksum.suffix) else {
                continue
            }
            await remove(folder.path(name), "A file that belongs to no backup is removed", task)
        }
    }

    private func isMissing(_ path: String, _ data: String, _ names: [String]) async throws -> Bool {
        if !data.contains("/") { return !names.contains(data) }
        do {
            _ = try await files.size(of: path)
            return false
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return true
        }
    }

    /// A file that was being written: `.<milliseconds>.<name>`. Other hidden files are not ours.
    static func isHidden(_ name: String) -> Bool {
        let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 && parts[0].isEmpty && !parts[1].isEmpty && !parts[2].isEmpty
            && parts[1].utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Takes a backup out of the list.
    func remove(_ listing: inout MachineListing, _ name: String, _ task: TaskNode) async throws {
        try lock.requireHeld()
        do {
            try await files.remove(folder.path(name))
        } catch {
            try Task.checkCancellation()
            task.warning("A backup cannot be removed: \(error)", ["path": .string(folder.id(name))])
            return
        }
        listing.metadata[name] = nil
        await ClassicCache(folder: folder).update([name: nil])
    }

    /// Removes a file; a failure is a warning.
    func remove(_ path: String, _ why: String, _ task: TaskNode) async {
        guard lock.isHeld, !Task.isCancelled else { return }
        do {
            try await files.remove(path)
            task.warning(why, ["path": .string("/\(path)")])
        } catch {
            task.warning("A file cannot be removed: \(error)", ["path": .string("/\(path)")])
        }
    }
}

/// What a machine's metadata says, while a clean changes it.
struct MachineListing: Sendable {
    let folder: MachineFolder
    /// By name of the file.
    var metadata: [String: VMBackupMetadata]
    /// Names of files that cannot be understood.
    let damaged: [String]

    var sorted: [(String, VMBackupMetadata)] { metadata.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }

    /// Whether a file has the date of a backup of which we do not know what it owns.
    func mayOwn(_ name: String) -> Bool {
        let unknown = metadata.filter { VMBackupMode(rawValue: $0.value.mode) == nil }.map(\.key)
        return (damaged + unknown).contains { name.hasPrefix($0.dropLast(".json".utf8.count) + ".") }
    }
}
