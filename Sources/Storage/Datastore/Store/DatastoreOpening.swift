import BackupFormats
import Platform

extension Datastore {
    /// Names directly below a store that must lie on its file system: publication is a rename. (Design decision 1.1.)
    private static let innerFolders = [".chunks", ".cairn", "ns"] + BackupType.allCases.map { $0.rawValue }

    /// Opens a store made by ``create(name:at:options:)`` or by a PBS, and removes what interrupted sessions left.
    ///
    /// Where the process cannot write as the owner of `.chunks`, or the file system is read-only, the store is opened
    /// for reading; ``readOnlyReason`` tells. (Design decision 2.)
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject` where there is no datastore, `conflict` where another process has
    ///   it open or a PBS holds its lock, `unsupported` where a folder inside is a mount point.
    package static func open(
        name: String, at path: String, options: StoreOptions = StoreOptions()
    ) throws -> Datastore {
        try storing("Datastore \(name) cannot be opened") {
            guard try FileSystem.isFolder("\(path)/.chunks") else {
                throw BackupFailure(.noSuchObject, "There is no datastore at \(path)")
            }
            let layout = StoreLayout(root: try FileSystem.realPath(path))
            try refuseMountPoints(layout)
            guard let status = try FileSystem.status(layout.chunks) else {
                throw BackupFailure(.noSuchObject, "There is no datastore at \(path)")
            }
            let owner = FileOwner(user: status.user, group: status.group)
            var reason = options.isReadOnly ? "it was asked for so" : owner.obstacle
            var locks: OpenerLocks?
            if reason == nil {
                do {
                    locks = try lock(layout, owner, name)
                } catch let error as SystemError where error.isReadOnly {
                    reason = "\(error)"
                }
            }
            return try Datastore(
                name: name, layout: layout, owner: owner, options: options, readOnlyReason: reason,
                interruptedTasks: locks == nil ? [] : try sweep(layout), locks: locks)
        }
    }

    private static func refuseMountPoints(_ layout: StoreLayout) throws {
        let device = try FileSystem.status(layout.root)?.device
        for inner in innerFolders {
            guard let status = try FileSystem.status("\(layout.root)/\(inner)"), status.device != device else {
                continue
            }
            throw BackupFailure(.unsupported, "\(layout.root)/\(inner) lies on another file system than the datastore")
        }
    }

    private static func lock(_ layout: StoreLayout, _ owner: FileOwner, _ name: String) throws -> OpenerLocks {
        try owner.makeFolder(layout.own, mode: StoreLayout.privateMode)
        let file = try OpenFile(layout.ownerLock, .make(mode: StoreLayout.fileMode))
        guard let opener = try FileLock.taken(file, .exclusive, owner: .openFile) else {
            let holder = String(decoding: try file.read(at: 0, count: 256), as: UTF8.self).split(separator: "\n")
            throw BackupFailure(
                .conflict, "Datastore \(name) is open in another process (\(holder.joined(separator: ", ")))")
        }
        let text =
            "pid \(ProcessInformation.id)\nhost \(ProcessInformation.hostName)\nstart \(ProcessInformation.startTime)\n"
        try file.truncate(to: 0)
        try file.write(Array(text.utf8), at: 0)
        try owner.give(layout.ownerLock)
        // Opened only now that nobody else in this process has it: closing any descriptor of it would drop the lock.
        let processFile = try OpenFile(layout.processLock, .make(mode: StoreLayout.fileMode))
        try owner.give(layout.processLock)
        guard let process = try FileLock.taken(processFile, .shared, owner: .process) else {
            throw BackupFailure(
                .conflict, "Datastore \(name) is locked by another server, which may be collecting garbage",
                hints: ["Stop the other server before this one uses the datastore."])
        }
        return OpenerLocks(opener: opener, process: process)
    }

    /// Removes what lies in staging and what a removal left behind; the opener's lock is held.
    ///
    /// - Returns: The UPIDs of the sessions that were removed.
    private static func sweep(_ layout: StoreLayout) throws -> [String] {
        var tasks: [String] = []
        for name in try listIfPresent(layout.sessions) where name.hasSuffix(StageNote.suffix) {
            let path = "\(layout.sessions)/\(name)"
            guard let bytes = try FileSystem.readIfPresent(path, limit: StageNote.limit),
                let note = StageNote(parsing: String(decoding: bytes, as: UTF8.self))
            else { continue }
            // A crash behind the rename left the note alone: the snapshot is there.
            let isPublished =
                try !FileSystem.exists(String(path.dropLast(StageNote.suffix.utf8.count)))
                && FileSystem.exists(layout.folder(of: note.snapshot, in: note.namespace))
            if !isPublished { tasks.append(note.task) }
            // The session may have made the group without publishing anything into it.
            try removeIfEmpty(note.snapshot.group, in: note.namespace, layout)
        }
        try FileSystem.removeTree(layout.sessions)
        try FileSystem.removeTree(layout.removed)
        return tasks
    }

    /// Removes a group's folder where nothing but the owner is in it, or what the writing of the owner left.
    static func removeIfEmpty(_ group: BackupGroup, in namespace: Namespace, _ layout: StoreLayout) throws {
        let folder = layout.folder(of: group, in: namespace)
        let names = try listIfPresent(folder)
        guard names.allSatisfy({ $0 == StoreLayout.ownerFile || $0.hasPrefix("\(StoreLayout.ownerFile).tmp_") }) else {
            return
        }
        for name in names { try FileSystem.removeFile("\(folder)/\(name)") }
        try FileSystem.removeFolder(folder)
    }
}

/// The names in a folder, none where there is no such folder.
func listIfPresent(_ path: String) throws -> [String] {
    do throws(SystemError) {
        return try FileSystem.list(path)
    } catch {
        if error.isMissing { return [] }
        throw error
    }
}
