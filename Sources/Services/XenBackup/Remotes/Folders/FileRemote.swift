package import BackupFormats
import Platform

/// A remote in a folder: a local one, or one that is mounted.
///
/// It never leaves its folder, follows no link inside it, and works with at most ten threads of its own, so that a file
/// server that hangs holds up its own remote only. New folders have mode 0700, new files 0600. (Spec: xo-proxy §4.2.)
package final class FileRemote: RemoteFiles {
    /// Operations at once. (Spec: §4.2.)
    private static let width = 10
    /// Bytes that go through memory at once.
    static let pieceBytes = 1 << 20

    package let capabilities: RemoteCapabilities
    private let tree: FileTree
    private let workers: WorkerPool
    private let locks: LockKeeper

    private init(tree: FileTree, isImmutable: Bool, timing: LockTiming, registry: LockRegistry) {
        capabilities = RemoteCapabilities(isFileSystem: true, isImmutable: isImmutable)
        self.tree = tree
        workers = WorkerPool(name: tree.name, width: Self.width)
        locks = LockKeeper(tree: tree, timing: timing, registry: registry)
    }

    deinit { workers.close() }

    /// Opens the folder at `path`, which is made if it is missing, and checks that it can be read and written.
    ///
    /// - Parameters:
    ///   - name: What it is called in messages.
    ///   - isImmutable: Whether files cannot be changed; `immutability.json` in the folder says so too. (Spec: §4.7.)
    package static func open(
        _ path: String, name: String, isImmutable: Bool = false, time: TimeSource, timing: LockTiming = LockTiming(),
        registry: LockRegistry = .process
    ) async throws -> FileRemote {
        let workers = WorkerPool(name: name, width: 1)
        defer { workers.close() }
        let (tree, isMarked) = try await workers.run {
            do throws(SystemError) {
                try FileSystem.makeFolders(path, mode: 0o700)
                let tree = FileTree(root: try OpenNode(folderAt: path), name: name, time: time)
                let isMarked = try tree.list(RemotePath(names: [])).contains("immutability.json")
                let probe = try HiddenFile(for: RemotePath(names: ["cairn-probe"]), in: tree, .replace)
                probe.discard()
                return (tree, isMarked)
            } catch {
                throw error.failure(of: name, "cannot be opened")
            }
        }
        return FileRemote(tree: tree, isImmutable: isImmutable || isMarked, timing: timing, registry: registry)
    }

    package func list(_ folder: String) async throws -> [String] {
        let path = try RemotePath(parsing: folder)
        return try await run("\(path)/", "cannot be listed") { tree throws(SystemError) in try tree.list(path) }
    }

    package func size(of path: String) async throws -> UInt64 {
        let path = try RemotePath(parsing: path)
        return try await run(path, "cannot be examined") { tree throws(SystemError) in try tree.size(of: path) }
    }

    package func read(_ path: String, limit: Int) async throws -> [UInt8] {
        let path = try RemotePath(parsing: path)
        return try await run(path, "cannot be read") { tree throws(SystemError) in
            try tree.open(path, .read).readAll(limit: limit)
        }
    }

    package func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8] {
        let path = try RemotePath(parsing: path)
        return try await run(path, "cannot be read") { tree throws(SystemError) in
            try tree.open(path, .read).read(at: Int(clamping: offset), count: count)
        }
    }

    package func stream(_ path: String) async throws -> any ByteSource {
        FileRemoteStream(try await openedFile(path, .read))
    }

    package func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws {
        let path = try RemotePath(parsing: path)
        try await run(path, "cannot be written") { tree throws(SystemError) in
            let hidden = try HiddenFile(for: path, in: tree, mode)
            do throws(SystemError) {
                try hidden.file.write(bytes, at: 0)
                try hidden.publish(mode)
            } catch {
                hidden.discard()
                throw error
            }
        }
    }

    package func write(
        _ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode
    ) async throws -> UInt64 {
        let path = try RemotePath(parsing: path)
        let hidden = try await run(path, "cannot be written") { tree throws(SystemError) in
            try HiddenFile(for: path, in: tree, mode)
        }
        do {
            let count = try await copy(source, to: hidden.file, path)
            try await run(path, "cannot be written") { _ throws(SystemError) in try hidden.publish(mode) }
            return count
        } catch {
            let workers = workers
            await Task { try? await workers.run { hidden.discard() } }.value
            throw error
        }
    }

    /// Reads the next piece while the last one is being written.
    private func copy(_ source: any ByteSource, to file: OpenFile, _ path: RemotePath) async throws -> UInt64 {
        let behind = WriteBehind()
        var offset = 0
        var next = try await source.read(upTo: Self.pieceBytes)
        while let piece = next {
            let place = offset
            async let written: Void = run(path, "cannot be written") { _ throws(SystemError) in
                try file.write(piece, at: place)
                behind.add(file, at: place, count: piece.count)
            }
            offset += piece.count
            next = try await source.read(upTo: Self.pieceBytes)
            try await written
        }
        return UInt64(offset)
    }

    package func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile {
        switch access {
        case .read: return try await openedFile(path, .read)
        case .update: return try await openedFile(path, .update)
        case .create:
            let place = try RemotePath(parsing: path)
            let (file, folder) = try await run(place, "cannot be made") { tree throws(SystemError) in
                let (folder, name) = try tree.parent(of: place, isMade: true)
                return (try folder.openFile(name, .makeNew), folder)
            }
            return OpenRemoteFile(file, newIn: folder, path: place, remote: self)
        }
    }

    private func openedFile(_ path: String, _ access: OpenNode.FileAccess) async throws -> OpenRemoteFile {
        let place = try RemotePath(parsing: path)
        let file = try await run(place, "cannot be opened") { tree throws(SystemError) in try tree.open(place, access) }
        return OpenRemoteFile(file, newIn: nil, path: place, remote: self)
    }

    package func move(_ path: String, to target: String, _ mode: WriteMode) async throws {
        let path = try RemotePath(parsing: path)
        let target = try RemotePath(parsing: target)
        try await run("\(path) to \(target)", "cannot be renamed") { tree throws(SystemError) in
            try tree.move(path, to: target, mode)
        }
    }

    package func remove(_ path: String) async throws {
        let path = try RemotePath(parsing: path)
        try await run(path, "cannot be removed") { tree throws(SystemError) in try tree.remove(path) }
    }

    package func removeTree(_ path: String) async throws {
        let path = try RemotePath(parsing: path)
        try await run(path, "cannot be removed") { tree throws(SystemError) in try tree.removeTree(path) }
    }

    package func makeFolder(_ path: String) async throws {
        let path = try RemotePath(parsing: path)
        try await run(path, "cannot be made") { tree throws(SystemError) in try tree.makeFolder(path) }
    }

    package func lock(_ path: String, patience: Duration) async throws -> any RemoteLock {
        try await locks.lock(try RemotePath(parsing: path), patience: patience)
    }

    package func info() async throws -> JSONObject {
        let space = try await run("its room", "cannot be asked for") { tree throws(SystemError) in
            try tree.space()
        }
        return [
            "size": .integer(space.total), "used": .integer(space.used), "available": .integer(space.available),
        ]
    }

    /// Gives back what is still locked, and lets go of the folder. Files that are open stay usable.
    package func close() async {
        await locks.releaseAll()
        tree.close()
    }

    /// Runs blocking work on the threads of this remote.
    func run<Value: Sendable>(
        _ object: some CustomStringConvertible & Sendable, _ what: String,
        _ body: @escaping @Sendable (FileTree) throws(SystemError) -> Value
    ) async throws -> Value {
        let tree = tree
        return try await workers.run {
            do throws(SystemError) {
                return try body(tree)
            } catch {
                throw error.failure(of: tree.name, "\(object) \(what)")
            }
        }
    }
}
