package import BackupFormats
import Platform

/// A group as listings show it.
package struct GroupEntry: Hashable, Sendable {
    package let namespace: Namespace
    package let group: BackupGroup
    /// Nil where the file is missing or cannot be understood.
    package let owner: AuthID?
    /// The whole text; nil where there is none.
    package let notes: String?
    /// Oldest first, running ones included.
    package let snapshots: [SnapshotEntry]

    /// The newest finished snapshot.
    package var newestFinished: SnapshotEntry? { snapshots.last { $0.isFinished } }
    package var finishedCount: Int { snapshots.count { $0.isFinished } }
}

extension Datastore {
    private static let ownerLimit = 4096
    /// Bytes of a group's notes.
    package static let notesLimit = 1 << 20

    /// The groups of one namespace, sorted. Groups of which only a running session knows are listed, empty ones not.
    ///
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where the namespace does not exist.
    package func groups(in namespace: Namespace) throws -> [GroupEntry] {
        guard try namespaceExists(namespace) else {
            throw BackupFailure(.noSuchObject, "Namespace '\(namespace)' does not exist in datastore \(name)")
        }
        let running = sessions.running(below: namespace).filter { $0.namespace == namespace }
        let names = Set(try groupNames(in: namespace)).union(running.map { $0.snapshot.group })
        return try names.sorted().compactMap { group in
            let entries = try snapshotEntries(of: group, in: namespace)
            guard !entries.isEmpty else { return nil }
            return GroupEntry(
                namespace: namespace, group: group, owner: entries.first?.owner,
                notes: try storedNotes(of: group, in: namespace), snapshots: entries)
        }
    }

    /// The groups that have a folder, sorted.
    package func groupNames(in namespace: Namespace) throws -> [BackupGroup] {
        try storing("Groups of namespace '\(namespace)' cannot be listed") {
            try BackupType.allCases.flatMap { type -> [BackupGroup] in
                let folder = layout.folder(of: type, in: namespace)
                return try listIfPresent(folder).compactMap { id -> BackupGroup? in
                    guard let group = BackupGroup(type: type, id: id), try FileSystem.isFolder("\(folder)/\(id)") else {
                        return nil
                    }
                    return group
                }
            }.sorted()
        }
    }

    /// Whether the group has a folder or a running session.
    func requireGroup(_ group: BackupGroup, in namespace: Namespace) throws {
        let isThere = try storing("Group \(text(group, in: namespace)) cannot be looked up") {
            try FileSystem.isFolder(layout.folder(of: group, in: namespace))
        }
        if !isThere { throw BackupFailure.missing(group, in: namespace) }
    }

    // MARK: Owner

    /// The owner; of a group that only a session has, the session's.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject` where there is no such group, `corruptData` where its owner cannot
    ///   be understood.
    package func owner(of group: BackupGroup, in namespace: Namespace) throws -> AuthID {
        if let owner = try storedOwner(of: group, in: namespace) { return owner }
        let running = sessions.running(below: namespace).first {
            $0.namespace == namespace && $0.snapshot.group == group
        }
        if let running { return running.owner }
        try requireGroup(group, in: namespace)
        throw BackupFailure(.corruptData, "Group \(text(group, in: namespace)) has no owner")
    }

    /// The first line of the group's `owner` file; nil where there is none.
    func storedOwner(of group: BackupGroup, in namespace: Namespace) throws -> AuthID? {
        try storing("The owner of group \(text(group, in: namespace)) cannot be read") {
            let path = "\(layout.folder(of: group, in: namespace))/\(StoreLayout.ownerFile)"
            guard let bytes = try FileSystem.readIfPresent(path, limit: Self.ownerLimit) else { return nil }
            let line = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            // No id has a blank inside.
            guard let owner = AuthID(parsing: line.filter { !$0.isWhitespace }) else {
                throw FormatError.invalid("'\(line)' is not a user or token", offset: 0)
            }
            return owner
        }
    }

    func writeOwner(_ owner: AuthID, of group: BackupGroup, in namespace: Namespace) throws {
        try AtomicFile.replace(
            "\(layout.folder(of: group, in: namespace))/\(StoreLayout.ownerFile)", with: Array("\(owner)\n".utf8),
            mode: StoreLayout.fileMode, owner: self.owner.toGive, isSynced: options.syncLevel != .none)
    }

    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` where a session writes the first snapshot of the group.
    package func setOwner(_ owner: AuthID, of group: BackupGroup, in namespace: Namespace) throws {
        try requireWritable()
        try requireStoredGroup(group, in: namespace)
        try storing("The owner of group \(text(group, in: namespace)) cannot be written") {
            try writeOwner(owner, of: group, in: namespace)
        }
    }

    /// Refuses groups that are only about to be made.
    private func requireStoredGroup(_ group: BackupGroup, in namespace: Namespace) throws {
        if try snapshotNames(of: group, in: namespace).isEmpty,
            let running = sessions.running(below: namespace).first(where: {
                $0.namespace == namespace && $0.snapshot.group == group
            })
        {
            throw BackupFailure.beingWritten(running)
        }
        try requireGroup(group, in: namespace)
    }

    // MARK: Notes

    /// The notes of a group, empty where there are none.
    package func groupNotes(of group: BackupGroup, in namespace: Namespace) throws -> String {
        try requireStoredGroup(group, in: namespace)
        return try storedNotes(of: group, in: namespace) ?? ""
    }

    private func storedNotes(of group: BackupGroup, in namespace: Namespace) throws -> String? {
        try storing("The notes of group \(text(group, in: namespace)) cannot be read") {
            let path = "\(layout.folder(of: group, in: namespace))/\(StoreLayout.notesFile)"
            return try FileSystem.readIfPresent(path, limit: Self.notesLimit).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    package func setGroupNotes(_ notes: String, of group: BackupGroup, in namespace: Namespace) throws {
        try requireWritable()
        try requireStoredGroup(group, in: namespace)
        guard notes.utf8.count <= Self.notesLimit else {
            throw BackupFailure(.invalidInput, "Notes are longer than \(Self.notesLimit) bytes")
        }
        try storing("The notes of group \(text(group, in: namespace)) cannot be written") {
            try AtomicFile.replace(
                "\(layout.folder(of: group, in: namespace))/\(StoreLayout.notesFile)", with: Array(notes.utf8),
                mode: StoreLayout.fileMode, owner: owner.toGive, isSynced: options.syncLevel != .none)
        }
    }

    // MARK: Removal

    /// Removes a group with its snapshots; where some are protected, those and the group stay.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject`; `conflict` while a session writes to the group or a snapshot of it
    ///   is in use (those before it are gone then).
    package func removeGroup(_ group: BackupGroup, in namespace: Namespace) throws -> RemovalCounts {
        try requireWritable()
        try requireStoredGroup(group, in: namespace)
        let purpose = "the removal of group \(text(group, in: namespace))"
        let lock = try sessions.lock(group, in: namespace, purpose: purpose)
        defer { lock.release() }
        let locks = try snapshotNames(of: group, in: namespace).map {
            try sessions.lock($0, in: namespace, .exclusive, purpose: purpose)
        }
        defer { for lock in locks { lock.release() } }
        return try removeContent(of: group, in: namespace, purpose: purpose)
    }

    /// The group and its snapshots are locked, or the namespace is reserved for removal.
    func removeContent(of group: BackupGroup, in namespace: Namespace, purpose: String) throws -> RemovalCounts {
        var counts = RemovalCounts()
        for snapshot in try snapshotNames(of: group, in: namespace) {
            if try storedProtection(of: snapshot, in: namespace) {
                counts.protectedSnapshots += 1
            } else {
                try removeFolder(of: snapshot, in: namespace)
                counts.removedSnapshots += 1
            }
        }
        if counts.protectedSnapshots == 0 {
            try removeFolder(of: group, in: namespace)
            counts.removedGroups += 1
        }
        return counts
    }

    func removeFolder(of group: BackupGroup, in namespace: Namespace) throws {
        try storing("Group \(text(group, in: namespace)) cannot be removed") {
            try moveAside(layout.folder(of: group, in: namespace))
            try sync([layout.folder(of: group.type, in: namespace)])
        }
    }
}
