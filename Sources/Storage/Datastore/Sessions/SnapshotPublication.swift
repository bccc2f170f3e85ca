package import BackupFormats
import BlobCoding
import Crypto
import Platform
import Synchronization

extension SnapshotStage {
    /// Verifies the snapshot, gives it its statistics and shows it to everybody by one rename. (Design decisions 1.4,
    /// 3 and 5.)
    ///
    /// Before the rename a failure leaves the session active, and ``discard()`` from another thread stops it. When
    /// this returns, all locks of the session are given up but a shared one on the snapshot, which the reader holds:
    /// verification may start with it; otherwise close it.
    ///
    /// - Parameters:
    ///   - statistics: Go into the manifest; nil leaves it as it was uploaded, byte by byte.
    ///   - log: Takes remarks that fail nothing, for the log of the task.
    /// - Throws: ``BackupFailure``: `invalidInput` for open or failed indexes, no files, a manifest that is missing,
    ///   broken or does not fit the files; `corruptData` for a missing chunk; `conflict`, `storageFull`, `cancelled`.
    package func publish(
        _ statistics: Manifest.UploadStatistics?, log: (String) -> Void = { _ in }
    ) throws -> SnapshotReader {
        try requireActive()
        try beginPublishing()
        var madeGroup: MadeGroup?
        do {
            let manifest = try checkManifest(log)
            try checkChunks(log)
            if let statistics { try writeManifest(manifest, statistics) }
            madeGroup = try makeGroup()
            try openStagedFolder()
            if store.options.syncLevel != .none {
                try storing("Snapshot \(label) cannot be made durable") {
                    try store.options.beforeStep(.syncFileSystem)
                    try store.syncGate.pass()
                }
            }
            try passPointOfNoReturn()
        } catch {
            if let madeGroup { remove(madeGroup) }
            let isCancelled = state.withLock { state in
                defer { state.phase = .active }
                return state.phase == .cancelling
            }
            if isCancelled { discard() }
            throw error
        }
        return try conclude(madeGroup)
    }

    private func beginPublishing() throws {
        try state.withLock { state throws(BackupFailure) in
            if let name = state.open.values.map({ $0.name.name }).min() {
                throw BackupFailure(.invalidInput, "Snapshot \(label) cannot be finished: index \(name) is still open")
            }
            if let name = state.failed.first {
                throw BackupFailure(
                    .invalidInput, "Snapshot \(label) cannot be finished: index \(name) could not be closed")
            }
            guard !state.indexes.isEmpty || !state.blobs.isEmpty else {
                throw BackupFailure(.invalidInput, "Snapshot \(label) cannot be finished: it has no files")
            }
            guard state.phase == .active else {
                throw BackupFailure(.invalidInput, "Snapshot \(label) is being finished")
            }
            state.phase = .publishing
        }
    }

    // MARK: Checks

    private func checkManifest(_ log: (String) -> Void) throws -> Manifest {
        let (indexes, blobs) = state.withLock { ($0.indexes, $0.blobs) }
        func refuse(_ reason: String, _ cause: (any Error)? = nil) -> BackupFailure {
            BackupFailure(.invalidInput, "Snapshot \(label) cannot be finished: \(reason)", cause: cause)
        }
        guard blobs.contains(.manifest) else { throw refuse("its manifest, \(ArchiveName.manifest), was not uploaded") }
        let manifest: Manifest
        do {
            manifest = try Manifest(blob: try readBlob(.manifest, folder: folder, in: label))
        } catch let error as FormatError {
            throw refuse("its manifest cannot be read", error)
        }
        for file in manifest.files {
            if let index = indexes[file.name] {
                guard index.size == file.size else {
                    throw refuse("\(file.name) has \(index.size) bytes, the manifest says \(file.size)")
                }
                guard index.checksum == file.checksum else {
                    throw refuse("\(file.name) has another checksum than the manifest says")
                }
            } else if blobs.contains(file.name) {
                let blob = try readBlob(file.name, folder: folder, in: label)
                guard UInt64(blob.count) == file.size else {
                    throw refuse("\(file.name) has \(blob.count) bytes, the manifest says \(file.size)")
                }
                if let checksum = file.checksum {
                    guard ChunkDigest(SHA256.hash(data: blob)) == checksum else {
                        throw refuse("\(file.name) has another checksum than the manifest says")
                    }
                } else {
                    log("warning: the manifest has no checksum for \(file.name)")
                }
            } else {
                throw refuse("the manifest lists \(file.name), which was not uploaded")
            }
        }
        return manifest
    }

    /// Looks for each chunk that the session relies on and did not write itself.
    private func checkChunks(_ log: (String) -> Void) throws {
        try storing("The chunks of \(label) cannot be checked") { try store.options.beforeStep(.finishCheck) }
        var missing: [ChunkDigest] = []
        try chunks.forEachUnwritten { batch in
            missing += try store.chunks.missing(of: batch)
        }
        guard !missing.isEmpty else { return }
        if let base { try markBase(base, ifItHas: missing, log) }
        let wanted = Set(missing)
        for (name, _) in state.withLock({ $0.indexes }).sorted(by: { $0.key.name < $1.key.name }) {
            try StoredIndex(name, folder: folder, in: label).forEach { entry in
                guard wanted.contains(entry.digest) else { return }
                throw BackupFailure(
                    .corruptData,
                    "Snapshot \(label) cannot be finished: chunk \(entry.digest) of \(name) is missing from the datastore"
                )
            }
        }
        for digest in missing { log("warning: chunk \(digest), which no archive of this backup uses, is missing") }
    }

    /// Gives the base the state `failed`, so that the next backup does not build on it, where its own index has one of
    /// the chunks.
    private func markBase(_ base: SnapshotName, ifItHas missing: [ChunkDigest], _ log: (String) -> Void) throws {
        let wanted = Set(missing)
        var isDamaged = false
        for file in try store.manifest(of: base, in: request.namespace).files
        where file.name.kind != .blob && !isDamaged {
            let folder = store.layout.folder(of: base, in: request.namespace)
            try StoredIndex(file.name, folder: folder, in: "\(base)").forEach {
                isDamaged = isDamaged || wanted.contains($0.digest)
            }
        }
        guard isDamaged else { return }
        try store.updateManifest(of: base, in: request.namespace) {
            $0.verifyState = .init(outcome: .failed, task: request.task)
        }
        log("warning: the previous snapshot \(base) lacks chunks and was marked as failed")
    }

    // MARK: Publication

    private func writeManifest(_ manifest: Manifest, _ statistics: Manifest.UploadStatistics) throws {
        var manifest = manifest
        manifest.uploadStatistics = statistics
        try storing("The manifest of \(label) cannot be written") {
            try store.options.beforeStep(.manifestRewrite)
            try AtomicFile.replace(
                "\(folder)/\(ArchiveName.manifest)", with: try manifest.blob(), mode: StoreLayout.fileMode,
                owner: store.owner.toGive)
        }
    }

    /// What publication made above the snapshot.
    struct MadeGroup {
        /// Folders that are new or have a new entry, from the top down.
        var changed: [String]
        var isNew: Bool
    }

    /// Makes the group's folder and its owner, where they are missing.
    private func makeGroup() throws -> MadeGroup {
        let (group, namespace) = (request.snapshot.group, request.namespace)
        let groupFolder = store.layout.folder(of: group, in: namespace)
        return try storing("Group \(text(group, in: namespace)) cannot be made") {
            try store.options.beforeStep(.groupFolder)
            let typeFolder = store.layout.folder(of: group.type, in: namespace)
            var made = MadeGroup(changed: [], isNew: false)
            if try store.owner.makeFolder(typeFolder, mode: StoreLayout.treeMode) {
                made.changed.append(store.layout.folder(of: namespace))
            }
            made.isNew = try store.owner.makeFolder(groupFolder, mode: StoreLayout.treeMode)
            if made.isNew { made.changed.append(typeFolder) }
            made.changed.append(groupFolder)
            do {
                if try store.storedOwner(of: group, in: namespace) == nil {
                    try store.options.beforeStep(.ownerWrite)
                    try store.writeOwner(request.owner, of: group, in: namespace)
                }
            } catch {
                remove(made)
                throw error
            }
            return made
        }
    }

    /// Takes back what ``makeGroup()`` made. Nobody else can have put anything in: the group is locked.
    private func remove(_ made: MadeGroup) {
        guard made.isNew else { return }
        _ = try? Datastore.removeIfEmpty(request.snapshot.group, in: request.namespace, store.layout)
    }

    /// Gives the staged folder the mode and owner of a snapshot. (Design decision 1.8.)
    private func openStagedFolder() throws {
        try storing("Snapshot \(label) cannot be published") {
            try FileSystem.setMode(folder, StoreLayout.treeMode)
            try store.owner.give(folder)
        }
    }

    /// The rename. It runs under the lock of the state, so that discarding happens before it or not at all.
    private func passPointOfNoReturn() throws {
        let target = store.layout.folder(of: request.snapshot, in: request.namespace)
        try storing("Snapshot \(label) cannot be published") {
            try store.options.beforeStep(.publishRename)
            try state.withLock { state in
                guard state.phase == .publishing else {
                    throw BackupFailure(.cancelled, "The backup of \(label) has been given up")
                }
                do {
                    try FileSystem.renameExclusively(folder, to: target)
                } catch let error as SystemError where error.isExisting {
                    throw BackupFailure(.conflict, "Snapshot \(label) exists already", cause: error)
                }
                state.phase = .published
            }
        }
    }

    private func conclude(_ made: MadeGroup?) throws -> SnapshotReader {
        // From here on the backup has succeeded; what fails now is reported, but nothing is taken back.
        defer { removeNote() }
        let lock = store.sessions.handOver(running, purpose: "the check of the new snapshot")
        let synced = Result {
            guard store.options.syncLevel != .none else { return }
            try storing("Snapshot \(label) was published, but its folder cannot be made durable") {
                try store.options.beforeStep(.syncFolders)
                for changed in made?.changed.reversed() ?? [] { try FileSystem.syncFolder(changed) }
            }
        }
        giveUpLocks(registered: false)
        try synced.get()
        try store.options.beforeStep(.published)
        return SnapshotReader(store, request.snapshot, in: request.namespace, lock: lock)
    }
}
