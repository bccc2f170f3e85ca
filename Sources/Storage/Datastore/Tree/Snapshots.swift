package import BackupFormats
import Platform

/// A file of a snapshot on disk.
package struct SnapshotFileEntry: Hashable, Sendable {
    package let name: ArchiveName
    /// Bytes of the file itself; of an index, not of the archive.
    package let byteCount: Int
}

/// A snapshot as listings show it, without what its manifest says.
package struct SnapshotEntry: Hashable, Sendable {
    package let namespace: Namespace
    package let name: SnapshotName
    /// Sorted by name. Of a running snapshot: what is complete so far.
    package let files: [SnapshotFileEntry]
    package let isProtected: Bool
    /// Whether it has a manifest; ``Datastore/manifest(of:in:)`` reads that.
    package let isFinished: Bool
    /// The group's owner; of a running snapshot in a new group, the session's.
    package let owner: AuthID?
    /// The UPID of the session that writes it; nil for all others.
    package let runningTask: String?
}

extension Datastore {
    /// The snapshots of one namespace, or of one group in it, sorted; running ones among them. (Design decision 1.5.)
    ///
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where the namespace does not exist. A missing group has none.
    package func snapshots(in namespace: Namespace, group: BackupGroup? = nil) throws -> [SnapshotEntry] {
        if let group { return try snapshotEntries(of: group, in: namespace) }
        return try groups(in: namespace).flatMap { $0.snapshots }
    }

    /// - Throws: ``BackupFailure`` of kind `noSuchObject`.
    package func snapshot(_ snapshot: SnapshotName, in namespace: Namespace) throws -> SnapshotEntry {
        if let running = sessions.running(snapshot, in: namespace) {
            return try entry(of: running, owner: storedOwner(of: snapshot.group, in: namespace))
        }
        guard
            let entry = try storedEntry(
                snapshot, in: namespace, owner: try? storedOwner(of: snapshot.group, in: namespace))
        else {
            throw BackupFailure.missing(snapshot, in: namespace)
        }
        return entry
    }

    /// Oldest first.
    func snapshotEntries(of group: BackupGroup, in namespace: Namespace) throws -> [SnapshotEntry] {
        let owner = try? storedOwner(of: group, in: namespace)
        // The registry is asked first: a snapshot that is published meanwhile is then seen on disk at least.
        let running = sessions.running(below: namespace).filter {
            $0.namespace == namespace && $0.snapshot.group == group
        }
        var entries: [SnapshotName: SnapshotEntry] = [:]
        for session in running { entries[session.snapshot] = try entry(of: session, owner: owner) }
        for name in try snapshotNames(of: group, in: namespace) {
            if let stored = try storedEntry(name, in: namespace, owner: owner) { entries[name] = stored }
        }
        return entries.values.sorted { $0.name < $1.name }
    }

    private func entry(of running: RunningSnapshot, owner: AuthID?) throws -> SnapshotEntry {
        SnapshotEntry(
            namespace: running.namespace, name: running.snapshot, files: try files(in: running.folder),
            isProtected: false, isFinished: false, owner: owner ?? running.owner, runningTask: running.task)
    }

    /// Nil where there is no such folder.
    private func storedEntry(_ snapshot: SnapshotName, in namespace: Namespace, owner: AuthID?) throws -> SnapshotEntry?
    {
        let folder = layout.folder(of: snapshot, in: namespace)
        return try storing("Snapshot \(text(snapshot, in: namespace)) cannot be listed") {
            guard try FileSystem.isFolder(folder) else { return nil }
            let files = try files(in: folder)
            return SnapshotEntry(
                namespace: namespace, name: snapshot, files: files,
                isProtected: try FileSystem.exists("\(folder)/\(StoreLayout.protectedFile)"),
                isFinished: files.contains { $0.name == .manifest }, owner: owner, runningTask: nil)
        }
    }

    private func files(in folder: String) throws -> [SnapshotFileEntry] {
        try listIfPresent(folder).compactMap { text in
            guard let name = ArchiveName(text),
                let status = try FileSystem.status("\(folder)/\(text)", followsLinks: false),
                status.kind == .file
            else { return nil }
            return SnapshotFileEntry(name: name, byteCount: status.byteCount)
        }
    }

    /// The snapshots that have a folder, oldest first.
    func snapshotNames(of group: BackupGroup, in namespace: Namespace) throws -> [SnapshotName] {
        try storing("Snapshots of group \(text(group, in: namespace)) cannot be listed") {
            try listIfPresent(layout.folder(of: group, in: namespace)).compactMap { text in
                BackupTime.parse(text).flatMap { SnapshotName(group: group, time: $0) }
            }.sorted()
        }
    }

    /// Those with a manifest, oldest first.
    func finishedSnapshots(of group: BackupGroup, in namespace: Namespace) throws -> [SnapshotName] {
        try snapshotNames(of: group, in: namespace).filter { try isFinished($0, in: namespace) }
    }

    func isFinished(_ snapshot: SnapshotName, in namespace: Namespace) throws -> Bool {
        try storing("Snapshot \(text(snapshot, in: namespace)) cannot be looked up") {
            try FileSystem.exists("\(layout.folder(of: snapshot, in: namespace))/\(ArchiveName.manifest)")
        }
    }

    /// - Throws: ``BackupFailure``: `conflict` where it is being written, `noSuchObject` where it does not exist.
    func requireSnapshot(_ snapshot: SnapshotName, in namespace: Namespace) throws {
        try sessions.requireNotRunning(snapshot, in: namespace)
        let isThere = try storing("Snapshot \(text(snapshot, in: namespace)) cannot be looked up") {
            try FileSystem.isFolder(layout.folder(of: snapshot, in: namespace))
        }
        if !isThere { throw BackupFailure.missing(snapshot, in: namespace) }
    }

    // MARK: Notes and protection

    /// Empty where there are none.
    package func notes(of snapshot: SnapshotName, in namespace: Namespace) throws -> String {
        try manifest(of: snapshot, in: namespace).notes ?? ""
    }

    package func setNotes(_ notes: String, of snapshot: SnapshotName, in namespace: Namespace) throws {
        guard notes.utf8.count <= Self.notesLimit else {
            throw BackupFailure(.invalidInput, "Notes are longer than \(Self.notesLimit) bytes")
        }
        try updateManifest(of: snapshot, in: namespace) { $0.notes = notes }
    }

    package func isProtected(_ snapshot: SnapshotName, in namespace: Namespace) throws -> Bool {
        try requireSnapshot(snapshot, in: namespace)
        return try storedProtection(of: snapshot, in: namespace)
    }

    func storedProtection(of snapshot: SnapshotName, in namespace: Namespace) throws -> Bool {
        try storing("Snapshot \(text(snapshot, in: namespace)) cannot be looked up") {
            try FileSystem.exists("\(layout.folder(of: snapshot, in: namespace))/\(StoreLayout.protectedFile)")
        }
    }

    /// A protected snapshot cannot be removed, whatever asks for it. (Spec: formats §9.12.)
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` while the snapshot is written or in use, also as the
    ///   base of a session.
    package func setProtected(_ isProtected: Bool, _ snapshot: SnapshotName, in namespace: Namespace) throws {
        try requireWritable()
        try requireSnapshot(snapshot, in: namespace)
        let lock = try sessions.lock(snapshot, in: namespace, .exclusive, purpose: "a change of its protection")
        defer { lock.release() }
        let folder = layout.folder(of: snapshot, in: namespace)
        try storing("The protection of \(text(snapshot, in: namespace)) cannot be changed") {
            let path = "\(folder)/\(StoreLayout.protectedFile)"
            if isProtected {
                try requireSnapshot(snapshot, in: namespace)
                let file = try OpenFile(path, .make(mode: StoreLayout.fileMode))
                try file.setMode(StoreLayout.fileMode)
                try owner.give(path)
            } else {
                try FileSystem.removeFile(path)
            }
            try sync([folder])
        }
    }

    // MARK: Removal

    /// Removes a snapshot, and its group with the last one.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` where it is protected, being written or in use.
    package func removeSnapshot(_ snapshot: SnapshotName, in namespace: Namespace) throws {
        try requireWritable()
        try requireSnapshot(snapshot, in: namespace)
        let purpose = "the removal of snapshot \(text(snapshot, in: namespace))"
        let lock = try sessions.lock(snapshot, in: namespace, .exclusive, purpose: purpose)
        defer { lock.release() }
        guard try !storedProtection(of: snapshot, in: namespace) else {
            throw BackupFailure(.conflict, "Snapshot \(text(snapshot, in: namespace)) is protected")
        }
        try removeFolder(of: snapshot, in: namespace)
        // With a session in the group, that keeps it.
        guard let groupLock = try? sessions.lock(snapshot.group, in: namespace, purpose: purpose) else { return }
        defer { groupLock.release() }
        if try snapshotNames(of: snapshot.group, in: namespace).isEmpty {
            try removeFolder(of: snapshot.group, in: namespace)
        }
    }

    /// The snapshot is locked, or its namespace reserved for removal.
    func removeFolder(of snapshot: SnapshotName, in namespace: Namespace) throws {
        let manifest = try sessions.lockManifest(of: snapshot, in: namespace)
        defer { manifest.release() }
        try storing("Snapshot \(text(snapshot, in: namespace)) cannot be removed") {
            try moveAside(layout.folder(of: snapshot, in: namespace))
            try sync([layout.folder(of: snapshot.group, in: namespace)])
        }
    }

    // MARK: Client log

    /// Stores the client's log of a finished or crashed backup, once.
    ///
    /// - Parameter blob: Its CRC was checked by the caller.
    /// - Throws: ``BackupFailure``: `conflict` where there is one, or the snapshot is being written; `noSuchObject`.
    package func storeClientLog(_ blob: [UInt8], for snapshot: SnapshotName, in namespace: Namespace) throws {
        try requireWritable()
        let lock = try sessions.lock(snapshot, in: namespace, .shared, purpose: "the upload of its log")
        defer { lock.release() }
        try requireSnapshot(snapshot, in: namespace)
        let manifest = try sessions.lockManifest(of: snapshot, in: namespace)
        defer { manifest.release() }
        let path = "\(layout.folder(of: snapshot, in: namespace))/\(ArchiveName.clientLog)"
        try storing("The log of \(text(snapshot, in: namespace)) cannot be stored") {
            guard try !FileSystem.exists(path) else {
                throw BackupFailure(.conflict, "Snapshot \(text(snapshot, in: namespace)) has a log already")
            }
            try AtomicFile.replace(
                path, with: blob, mode: StoreLayout.fileMode, owner: owner.toGive, isSynced: options.syncLevel != .none)
        }
    }
}
