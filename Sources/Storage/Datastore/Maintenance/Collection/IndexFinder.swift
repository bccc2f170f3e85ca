import BackupFormats
import Platform

/// Finds every index below a store. (Spec: formats §9.9, phase 1.)
///
/// It looks at all folders whose names do not begin with a dot, not only at those of the layout. Links are followed where
/// the listings of the store follow them: at the places of namespaces, groups and snapshots.
struct IndexFinder {
    struct Found: Sendable {
        let path: String
        let byteCount: Int
        /// Whether it lies in the folder of a snapshot.
        let isInSnapshot: Bool
    }

    private enum Place {
        /// A namespace: types, and `ns`.
        case namespace(Namespace)
        /// `ns`.
        case namespaces(Namespace)
        case type(BackupType)
        case group(BackupGroup)
        case snapshot
        case strange

        /// What a folder of that name is.
        func inner(_ name: String) -> Place {
            switch self {
            case .namespace(let namespace):
                if name == "ns" { return .namespaces(namespace) }
                return BackupType(rawValue: name).map { .type($0) } ?? .strange
            case .namespaces(let parent): return (try? parent.appending(name)).map { .namespace($0) } ?? .strange
            case .type(let type): return BackupGroup(type: type, id: name).map { .group($0) } ?? .strange
            case .group(let group):
                let isTime = BackupTime.parse(name).flatMap { SnapshotName(group: group, time: $0) } != nil
                return isTime ? .snapshot : .strange
            case .snapshot, .strange: return .strange
            }
        }

        var isStrange: Bool { if case .strange = self { true } else { false } }
    }

    private let lister = FolderLister()
    private let check: () throws -> Void
    private(set) var found: [Found] = []

    /// - Parameter check: Called for each folder; what it throws ends the search.
    init(check: @escaping () throws -> Void) {
        self.check = check
    }

    /// - Throws: ``BackupFailure`` where a folder cannot be read. What vanishes meanwhile is passed over.
    mutating func search(_ root: String) throws { try search(root, .namespace(.root), depth: 0) }

    private mutating func search(_ path: String, _ place: Place, depth: Int) throws {
        try check()
        var folders: [(path: String, place: Place)] = []
        var files: [Found] = []
        do {
            _ = try lister.forEachEntry(of: path) { entry in
                guard let name = entry.text, !name.hasPrefix(".") else { return }
                let inner = place.inner(name)
                var kind = entry.listedKind
                var status: FileStatus?
                if kind == nil || kind == .link {
                    status = try entry.status()
                    if status?.kind == .link, !inner.isStrange || Self.isIndex(name) {
                        status = try entry.status(followsLinks: true)
                    }
                    kind = status?.kind
                }
                if kind == .folder {
                    folders.append(("\(path)/\(name)", inner))
                } else if kind == .file, Self.isIndex(name) {
                    guard let status = try status ?? entry.status() else { return }
                    var isInSnapshot = false
                    if case .snapshot = place { isInSnapshot = true }
                    files.append(
                        Found(path: "\(path)/\(name)", byteCount: status.byteCount, isInSnapshot: isInSnapshot))
                }
            }
        } catch let error as SystemError {
            if error.isMissing { return }
            let isLost = path.hasSuffix("/lost+found") && depth <= 1 && error.isDenied
            if isLost { return }
            throw error.failure("Folder \(path) cannot be searched for indexes, so no chunk is removed")
        }
        found += files
        for folder in folders { try search(folder.path, folder.place, depth: depth + 1) }
    }

    private static func isIndex(_ name: String) -> Bool { name.hasSuffix(".fidx") || name.hasSuffix(".didx") }
}
