import BackupFormats
import Platform
import Synchronization

/// The files below a folder, reached name by name, so that no link inside leads out of it. Calls block.
final class FileTree: Sendable {
    /// Names that a folder may have.
    private static let listLimit = 1_000_000

    /// nil after ``close()``.
    private let openRoot: Mutex<OpenNode?>
    /// What the remote is called in messages.
    let name: String
    let time: TimeSource

    init(root: OpenNode, name: String, time: TimeSource) {
        openRoot = Mutex(root)
        self.name = name
        self.time = time
    }

    /// Lets go of the folder, so that what is mounted there can be unmounted.
    func close() { openRoot.withLock { $0 = nil } }

    func space() throws(SystemError) -> FileSystemSpace { try root().space() }

    private func root() throws(SystemError) -> OpenNode {
        guard let root = openRoot.withLock({ $0 }) else { throw .closed("open", name) }
        return root
    }

    func list(_ path: RemotePath) throws(SystemError) -> [String] {
        try folder(path.names[...], isMade: false).names(limit: Self.listLimit)
            .compactMap { String(validating: $0, as: UTF8.self) }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    func open(_ path: RemotePath, _ access: OpenNode.FileAccess) throws(SystemError) -> OpenFile {
        let (folder, name) = try parent(of: path, isMade: false)
        return try folder.openFile(name, access)
    }

    /// The length of a file, without opening it.
    func size(of path: RemotePath) throws(SystemError) -> UInt64 {
        let (folder, name) = try parent(of: path, isMade: false)
        let info = try folder.info(of: Array(name.utf8))
        switch info.kind {
        case .file: return info.byteCount
        case .folder: throw .folder("stat", name)
        default: throw .link("stat", name)
        }
    }

    func makeFolder(_ path: RemotePath) throws(SystemError) { _ = try folder(path.names[...], isMade: true) }

    func move(_ path: RemotePath, to target: RemotePath, _ mode: WriteMode) throws(SystemError) {
        let (source, name) = try parent(of: path, isMade: false)
        let (folder, targetName) = try parent(of: target, isMade: true)
        try source.rename(name, to: targetName, in: folder, replaces: mode == .replace)
        try folder.sync()
        try source.sync()
    }

    func remove(_ path: RemotePath) throws(SystemError) {
        do throws(SystemError) {
            let (folder, name) = try parent(of: path, isMade: false)
            try folder.removeFile(Array(name.utf8))
            try folder.sync()
        } catch {
            if !error.isMissing { throw error }
        }
    }

    func removeTree(_ path: RemotePath) throws(SystemError) {
        do throws(SystemError) {
            let (folder, name) = try parent(of: path, isMade: false)
            try Self.removeTree(Array(name.utf8), in: folder)
            try folder.sync()
        } catch {
            if !error.isMissing { throw error }
        }
    }

    /// Links are removed, not followed. What others removed meanwhile is no failure.
    private static func removeTree(_ name: [UInt8], in parent: OpenNode) throws(SystemError) {
        guard try parent.info(of: name).kind == .folder else { return try parent.removeFile(name) }
        let folder = try parent.open(name, .folder)
        for child in try folder.names(limit: listLimit) {
            do throws(SystemError) {
                try removeTree(child, in: folder)
            } catch {
                if !error.isMissing { throw error }
            }
        }
        try parent.removeFolder(name)
    }

    /// The folder of a file, and the file's name in it.
    func parent(of path: RemotePath, isMade: Bool) throws(SystemError) -> (OpenNode, String) {
        guard let name = path.names.last else { throw .folder("open", "/") }
        return (try folder(path.names.dropLast(), isMade: isMade), name)
    }

    private func folder(_ names: ArraySlice<String>, isMade: Bool) throws(SystemError) -> OpenNode {
        var folder = try root()
        for name in names {
            let bytes = Array(name.utf8)
            do throws(SystemError) {
                folder = try folder.open(bytes, .folder)
            } catch {
                guard isMade, error.isMissing else { throw error }
                do throws(SystemError) {
                    try folder.makeFolder(bytes)
                    try folder.sync()
                } catch {
                    // Somebody else was faster.
                    if !error.isExisting { throw error }
                }
                folder = try folder.open(bytes, .folder)
            }
        }
        return folder
    }
}

/// A file that is being written under a hidden name. (Spec: xo-proxy §4.7, `.<ms>.<name>`.)
final class HiddenFile: Sendable {
    let file: OpenFile
    private let folder: OpenNode
    private let name: String
    private let hiddenName: String

    init(for path: RemotePath, in tree: FileTree, _ mode: WriteMode) throws(SystemError) {
        (folder, name) = try tree.parent(of: path, isMade: true)
        if mode == .new { try Self.requireFree(name, in: folder) }
        var stamp = tree.time.nanoseconds() / 1_000_000
        while true {
            let hiddenName = ".\(stamp).\(name)"
            do throws(SystemError) {
                file = try folder.openFile(hiddenName, .makeNew)
                self.hiddenName = hiddenName
                return
            } catch {
                guard error.isExisting else { throw error }
                stamp += 1
            }
        }
    }

    /// Makes the content durable and gives it its name.
    func publish(_ mode: WriteMode) throws(SystemError) {
        try file.sync()
        try folder.rename(hiddenName, to: name, in: folder, replaces: mode == .replace)
        try folder.sync()
    }

    /// Removes it; it may be published already or gone.
    func discard() { _ = try? folder.removeFile(Array(hiddenName.utf8)) }

    private static func requireFree(_ name: String, in folder: OpenNode) throws(SystemError) {
        do throws(SystemError) {
            _ = try folder.info(of: Array(name.utf8))
        } catch {
            if error.isMissing { return }
            throw error
        }
        throw .existing("create", name)
    }
}
