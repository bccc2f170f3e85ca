import BackupFormats
import Synchronization

/// The files of an open remote in the hands of one user, who gives them back by closing.
final class LeasedFiles: RemoteFiles {
    private let content: OpenRemote.Content
    private let shared: OpenRemote
    private let pool: RepositoryPool
    private let isClosed = Mutex(false)
    let capabilities: RemoteCapabilities

    init(_ content: OpenRemote.Content, _ shared: OpenRemote, _ pool: RepositoryPool, usesBlockFolders: Bool) {
        var capabilities = content.files.capabilities
        capabilities.usesBlockFolders = usesBlockFolders
        self.capabilities = capabilities
        self.content = content
        self.shared = shared
        self.pool = pool
    }

    private var files: any RemoteFiles { content.files }
    /// Where the files lie on this machine.
    var folder: String? { content.folder }

    func close() async {
        guard
            !isClosed.withLock({ value in
                defer { value = true }; return value
            })
        else { return }
        await pool.release(shared)
    }

    func list(_ folder: String) async throws -> [String] { try await files.list(folder) }
    func size(of path: String) async throws -> UInt64 { try await files.size(of: path) }
    func read(_ path: String, limit: Int) async throws -> [UInt8] { try await files.read(path, limit: limit) }
    func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8] {
        try await files.read(path, at: offset, count: count)
    }
    func stream(_ path: String) async throws -> any ByteSource { try await files.stream(path) }
    func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws {
        try await files.write(path, bytes, mode)
    }
    func write(
        _ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode
    ) async throws -> UInt64 {
        try await files.write(path, from: source, maxByteCount: maxByteCount, mode)
    }
    func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile {
        try await files.open(path, access)
    }
    func move(_ path: String, to target: String, _ mode: WriteMode) async throws {
        try await files.move(path, to: target, mode)
    }
    func remove(_ path: String) async throws { try await files.remove(path) }
    func removeTree(_ path: String) async throws { try await files.removeTree(path) }
    func makeFolder(_ path: String) async throws { try await files.makeFolder(path) }
    func lock(_ path: String, patience: Duration) async throws -> any RemoteLock {
        try await files.lock(path, patience: patience)
    }
    func info() async throws -> JSONObject { try await files.info() }
}
