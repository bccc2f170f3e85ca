import BackupFormats
import Tasks

extension ClassicClean {
    /// Delta backups: what is incomplete, what nobody needs, what can be one disk.
    func cleanDisks(_ listing: inout MachineListing, _ task: TaskNode, merges: Bool) async throws {
        let folders: [DiskFolder]
        do {
            folders = try await diskFolders()
        } catch {
            try Task.checkCancellation()
            task.warning("The disks of the machine cannot be listed and stay as they are: \(error)")
            return
        }
        let isRead = repository.gate.isRead(folder.vm)
        if merges, isRead { task.info("Disks are not merged now: a backup of this machine is being read") }
        var references = DiskReferences(listing)
        var work = DiskWork(merges: merges && !isRead)
        for disks in folders {
            work.scans[disks.path] = try await examined(disks, references, &work, task)
            if work.scans[disks.path] == nil { work.untouchable.insert(disks.path) }
        }
        try await removeIncomplete(&listing, references, work, task)
        references = DiskReferences(listing)
        for (path, scan) in work.scans.sorted(by: { $0.key < $1.key }) {
            let referenced = references.names(in: path).union(scan.names.filter(listing.mayOwn))
            for name in scan.superfluous(referenced: referenced) {
                await remove(scan.folder.path(name), "A disk that no backup needs is removed", task)
            }
            guard work.merges else { continue }
            for chain in scan.mergeable(referenced: referenced) {
                _ = try await merge(chain, begun: nil, scan.folder, &work, task)
            }
        }
        try await refreshMetadata(&listing, work, task)
        await removeEmpty(folders, task)
    }

    private func diskFolders() async throws -> [DiskFolder] {
        var folders: [DiskFolder] = []
        for job in try await subfolders(folder.path(ClassicPath.disks)) {
            for disk in try await subfolders(folder.path("\(ClassicPath.disks)/\(job)")) {
                folders.append(DiskFolder(machine: folder, job: job, disk: disk))
            }
        }
        return folders
    }

    /// Files are no folders, hidden ones are not ours.
    private func subfolders(_ path: String) async throws -> [String] {
        do {
            return try await files.list(path).filter { ClassicPath.isName($0) }
        } catch {
            if (error as? BackupFailure)?.kind == .notFound { return [] }
            guard (try? await files.size(of: path)) != nil else { throw error }
            return []
        }
    }

    /// The content of a folder after what was begun there is finished; nil where it must be left alone.
    private func examined(
        _ disks: DiskFolder, _ references: DiskReferences, _ work: inout DiskWork, _ task: TaskNode
    ) async throws -> DiskScan? {
        do {
            var scan = try await DiskScan(disks)
            for name in scan.names where Self.isHidden(name) {
                await remove(disks.path(name), "An unfinished file is removed", task)
            }
            guard work.merges || scan.merging.isEmpty else { return nil }
            let unfinished = UnfinishedMerges(scan: scan, references: references)
            if try await finish(unfinished, &work, task) { scan = try await DiskScan(disks) }
            if !scan.merging.isEmpty { throw DiskScan.Untouchable(description: "a merge could not be finished") }
            if let parent = scan.forked {
                throw DiskScan.Untouchable(description: "more than one disk is a difference to \(parent)")
            }
            return scan
        } catch {
            try Task.checkCancellation()
            try lock.requireHeld()
            task.warning("The disks in /\(disks.path) stay as they are: \(error)", ["path": .string("/\(disks.path)")])
            return nil
        }
    }

    /// - Returns: Whether anything was changed.
    private func finish(
        _ unfinished: UnfinishedMerges, _ work: inout DiskWork, _ task: TaskNode
    ) async throws -> Bool {
        let disks = unfinished.scan.folder
        var hasChanged = false
        for oldest in unfinished.scan.merging {
            let state = disks.path(MergeState.name(of: oldest))
            switch try await unfinished.verdict(on: oldest) {
            case .orphan: await remove(state, "The state of a merge that is over is removed", task)
            case .pointless: await remove(state, "The state of a merge that nobody needs is removed", task)
            case .resume(let chain, let begun):
                task.warning("A merge that was interrupted goes on", ["path": .string("/\(disks.path(oldest))")])
                guard try await merge(chain, begun: begun, disks, &work, task) else { continue }
            }
            hasChanged = true
        }
        guard work.merges, let (oldest, youngest) = unfinished.scan.unnamedMerge,
            let chain = unfinished.scan.chain(from: oldest, to: youngest), !hasChanged
        else { return hasChanged }
        guard try await unfinished.holds(oldest, allOf: Array(chain.dropFirst())) else {
            throw DiskScan.Untouchable(description: "\(oldest) and \(youngest) have the same identity")
        }
        task.warning("A merged disk gets its name", ["path": .string("/\(disks.path(youngest))")])
        let state = MergeState(namingOnly: chain)
        return try await merge(chain, begun: state, disks, &work, task)
    }

    /// - Returns: Whether it was done; a failure is a warning, and tried again later.
    private func merge(
        _ chain: [String], begun: MergeState?, _ disks: DiskFolder, _ work: inout DiskWork, _ task: TaskNode
    ) async throws -> Bool {
        let merge = DiskMerge(
            folder: disks, lock: lock, gate: repository.gate, time: repository.time,
            interval: repository.options.mergeStateInterval)
        do {
            _ = try await task.run("merge", result: { size in ["size": .integer(size)] }) { task in
                try await merge.run(chain, begun: begun, task)
            }
            if let youngest = chain.last {
                work.merged.insert(disks.path(youngest))
                if begun == nil { work.mergedOldest[disks.path(youngest)] = chain.first }
            }
            return true
        } catch {
            try Task.checkCancellation()
            try lock.requireHeld()
            task.warning("Disks cannot be merged: \(error)", ["path": .string("/\(disks.path)")])
            return false
        }
    }

    /// Delta backups with a disk that is missing or cannot be read.
    private func removeIncomplete(
        _ listing: inout MachineListing, _ references: DiskReferences, _ work: DiskWork, _ task: TaskNode
    ) async throws {
        for (name, paths) in references.paths.sorted(by: { $0.key < $1.key }) {
            for path in paths {
                guard let fault = try await fault(of: path, work) else { continue }
                task.warning(
                    "A backup is incomplete and is removed: its disk /\(path) cannot be used: \(fault)",
                    ["path": .string(folder.id(name))])
                try await remove(&listing, name, task)
                break
            }
        }
    }

    private func fault(of path: String, _ work: DiskWork) async throws -> String? {
        let parent = ClassicPath.folder(of: path)
        guard !work.untouchable.contains(parent) else { return nil }
        if let scan = work.scans[parent] {
            let name = ClassicPath.name(of: path)
            return scan.isUsable(name) ? nil : scan.fault(of: name)
        }
        do {
            _ = try await files.size(of: path)
            return nil
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return "it is missing"
        } catch {
            return nil
        }
    }

    /// Sizes after merges, and which disks are differences now.
    private func refreshMetadata(_ listing: inout MachineListing, _ work: DiskWork, _ task: TaskNode) async throws {
        for (name, metadata) in listing.sorted where metadata.mode == VMBackupMode.delta.rawValue {
            let paths = metadata.vhds.members.map { member in
                (
                    member.name,
                    member.value.stringValue.flatMap {
                        ClassicPath.resolve($0, in: folder.path, within: folder.path)
                    }
                )
            }
            var json = metadata.json
            if var kinds = json["isVhdDifferencing"]?.objectValue {
                for (reference, path) in paths {
                    guard let path, kinds[reference] != nil, let kind = work.isDifferencing(path) else { continue }
                    kinds[reference] = .bool(kind)
                }
                json["isVhdDifferencing"] = .object(kinds)
            }
            let isMerged = paths.contains { $0.1.map(work.merged.contains) ?? false }
            guard isMerged || json != metadata.json else { continue }
            do {
                var size: UInt64 = 0
                for (_, path) in paths { if let path { size += try await files.size(of: path) } }
                json["size"] = .integer(size)
                try lock.requireHeld()
                let changed = VMBackupMetadata(json)
                try await ClassicCache(folder: folder).replace(name, changed)
                listing.metadata[name] = changed
            } catch {
                try Task.checkCancellation()
                task.warning("The metadata of a backup was not updated: \(error)", ["path": .string(folder.id(name))])
            }
        }
    }

    /// Folders of disks that have nothing left, and of jobs without disks.
    private func removeEmpty(_ folders: [DiskFolder], _ task: TaskNode) async {
        guard lock.isHeld, !Task.isCancelled else { return }
        var jobs: Set<String> = []
        for disks in folders {
            guard let names = try? await files.list(disks.path), names.isEmpty else { continue }
            try? await files.removeTree(disks.path)
            jobs.insert(ClassicPath.folder(of: disks.path))
        }
        for job in jobs {
            guard let names = try? await files.list(job), names.isEmpty else { continue }
            try? await files.removeTree(job)
        }
    }
}

/// What a clean knows about the folders of disks.
struct DiskWork: Sendable {
    let merges: Bool
    /// By path of the folder.
    var scans: [String: DiskScan] = [:]
    /// Folders that are left alone.
    var untouchable: Set<String> = []
    /// Paths of disks that others were merged into.
    var merged: Set<String> = []

    init(merges: Bool) { self.merges = merges }

    /// Whether a disk is a difference to another; nil where that is not known.
    func isDifferencing(_ path: String) -> Bool? {
        guard let scan = scans[ClassicPath.folder(of: path)] else { return nil }
        let name = ClassicPath.name(of: path)
        // A merged disk is what the oldest of its chain was.
        guard merged.contains(path), let oldest = mergedOldest[path] else {
            return scan.disks[name].map { $0.parent != nil }
        }
        return scan.disks[oldest].map { $0.parent != nil }
    }

    /// By path of a merged disk, the name of the oldest in its chain, where the scan was made before the merge.
    var mergedOldest: [String: String] = [:]
}

/// Which disks the metadata of a machine's backups refers to.
struct DiskReferences: Sendable {
    /// By name of the metadata file.
    private(set) var paths: [String: [String]] = [:]
    /// By path of the disk, its uuid.
    private(set) var uuids: [String: String] = [:]
    let listing: MachineListing

    init(_ listing: MachineListing) {
        self.listing = listing
        let folder = listing.folder.path
        for (name, metadata) in listing.metadata where metadata.mode == VMBackupMode.delta.rawValue {
            for member in metadata.vhds.members {
                guard let relative = member.value.stringValue,
                    let path = ClassicPath.resolve(relative, in: folder, within: folder)
                else { continue }
                paths[name, default: []].append(path)
                uuids[path] = metadata.vdis[member.name]?["uuid"]?.stringValue
            }
        }
    }

    func names(in folder: String) -> Set<String> {
        Set(paths.values.joined().filter { ClassicPath.folder(of: $0) == folder }.map(ClassicPath.name(of:)))
    }
}
