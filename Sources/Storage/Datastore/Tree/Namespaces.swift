package import BackupFormats
import Platform

extension Datastore {
    package func namespaceExists(_ namespace: Namespace) throws -> Bool {
        try storing("Namespace '\(namespace)' cannot be looked up") {
            try FileSystem.isFolder(layout.folder(of: namespace))
        }
    }

    /// A namespace and those below it, each in front of its children, sorted by name.
    ///
    /// - Parameter maxDepth: Levels below `parent`; 0 gives `parent` alone.
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where `parent` does not exist.
    package func namespaces(
        below parent: Namespace = .root, maxDepth: Int = Namespace.maxDepth
    ) throws -> [Namespace] {
        guard try namespaceExists(parent) else { throw missing(parent) }
        var result = [parent]
        if maxDepth > 0 {
            for child in try children(of: parent) { result += try namespaces(below: child, maxDepth: maxDepth - 1) }
        }
        return result
    }

    private func missing(_ namespace: Namespace) -> BackupFailure {
        BackupFailure(.noSuchObject, "Namespace '\(namespace)' does not exist in datastore \(name)")
    }

    private func children(of parent: Namespace) throws -> [Namespace] {
        let folder = "\(layout.folder(of: parent))/ns"
        return try storing("Namespaces below '\(parent)' cannot be listed") {
            try listIfPresent(folder).compactMap { name in
                guard let child = try? parent.appending(name), try FileSystem.isFolder("\(folder)/\(name)") else {
                    return nil
                }
                return child
            }
        }
    }

    /// Makes a namespace below one that exists.
    ///
    /// - Returns: false where it existed already.
    /// - Throws: ``BackupFailure``: `noSuchObject` where its parent does not exist, `conflict` while that is removed.
    @discardableResult
    package func createNamespace(_ namespace: Namespace) throws -> Bool {
        try requireWritable()
        guard let parent = namespace.parent else { return false }
        guard try namespaceExists(parent) else { throw missing(parent) }
        try sessions.requireStable(namespace)
        return try storing("Namespace '\(namespace)' cannot be created") {
            let folder = layout.folder(of: namespace)
            if try FileSystem.isFolder(folder) { return false }
            try owner.makeFolder("\(layout.folder(of: parent))/ns", mode: StoreLayout.treeMode)
            try owner.makeFolder(folder, mode: StoreLayout.treeMode)
            try sync(["\(layout.folder(of: parent))/ns", layout.folder(of: parent)])
            return true
        }
    }

    /// Removes a namespace with all below it. A missing one is fine. Where protected snapshots remain, so do the
    /// namespaces that hold them. Of the root, only the content is removed.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where it holds groups and `includingGroups` is false, and while
    ///   a session writes there or something there is in use.
    package func removeNamespace(_ namespace: Namespace, includingGroups: Bool) throws -> RemovalCounts {
        try requireWritable()
        var counts = RemovalCounts()
        guard try namespaceExists(namespace) else { return counts }
        let reservation = try sessions.reserveRemoval(of: namespace)
        defer { reservation.release() }
        // Children first.
        let all = try namespaces(below: namespace).reversed()
        if !includingGroups {
            for inner in all {
                if let group = try groupNames(in: inner).first {
                    throw BackupFailure(
                        .conflict,
                        "Namespace '\(namespace)' cannot be removed: it holds group \(text(group, in: inner))")
                }
            }
        }
        for inner in all {
            for group in try groupNames(in: inner) {
                counts.add(try removeContent(of: group, in: inner, purpose: "the removal of namespace '\(namespace)'"))
            }
            if !inner.isRoot, try removeEmptyFolders(of: inner) { counts.removedNamespaces += 1 }
        }
        return counts
    }

    /// - Returns: Whether the namespace is gone.
    private func removeEmptyFolders(of namespace: Namespace) throws -> Bool {
        let folder = layout.folder(of: namespace)
        return try storing("Namespace '\(namespace)' cannot be removed") {
            let inner = (BackupType.allCases.map { $0.rawValue } + ["ns"]).map { "\(folder)/\($0)" }
            do throws(SystemError) {
                for folder in inner + [folder] { try FileSystem.removeFolder(folder) }
                return true
            } catch {
                // Something protected is still in it.
                if error.isExisting { return false }
                throw error
            }
        }
    }

    /// Makes changed folders durable, unless the store promises nothing.
    func sync(_ folders: [String]) throws {
        guard options.syncLevel != .none else { return }
        for folder in folders { try FileSystem.syncFolder(folder) }
    }
}

/// What a removal did.
package struct RemovalCounts: Hashable, Sendable {
    package var removedNamespaces = 0
    package var removedGroups = 0
    package var removedSnapshots = 0
    /// Snapshots that stayed because they are protected.
    package var protectedSnapshots = 0

    package init(
        removedNamespaces: Int = 0, removedGroups: Int = 0, removedSnapshots: Int = 0, protectedSnapshots: Int = 0
    ) {
        self.removedNamespaces = removedNamespaces
        self.removedGroups = removedGroups
        self.removedSnapshots = removedSnapshots
        self.protectedSnapshots = protectedSnapshots
    }

    mutating func add(_ other: RemovalCounts) {
        removedNamespaces += other.removedNamespaces
        removedGroups += other.removedGroups
        removedSnapshots += other.removedSnapshots
        protectedSnapshots += other.protectedSnapshots
    }
}
