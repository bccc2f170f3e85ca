package import BackupFormats
package import ObjectStorage

/// A remote in a bucket of an S3-compatible store.
///
/// Folders are what stands before the slashes in keys: they come with their first object and go with the last. Nothing
/// is renamed: moving is copying and removing. Locks hold in this process only, so two proxies must not share a bucket.
/// (Spec: xo-proxy §4.2, §4.7.)
package final class S3Remote: RemoteFiles {
    package let capabilities: RemoteCapabilities
    private let client: S3Client
    /// What stands before all keys: empty, or with a slash at its end.
    private let prefix: String

    private init(_ client: S3Client, prefix: String, isImmutable: Bool) {
        self.client = client
        self.prefix = prefix
        capabilities = RemoteCapabilities(isFileSystem: false, isImmutable: isImmutable)
    }

    /// Opens the bucket and checks that it can be listed.
    ///
    /// - Parameters:
    ///   - folder: Below the bucket, where all lies.
    ///   - isImmutable: Taken to be so even if the bucket says nothing of the kind.
    ///   - scratchFolder: For parts of uploads that are too long for the memory.
    package static func open(
        _ settings: S3Settings, folder: String, isImmutable: Bool, scratchFolder: String? = nil, time: TimeSource
    ) async throws -> S3Remote {
        let path = try RemotePath(parsing: folder)
        let client = S3Client(settings, time: time, scratchFolder: scratchFolder)
        do {
            try await client.check()
            let hasObjectLock = await client.hasObjectLock()
            return S3Remote(client, prefix: path.isRoot ? "" : "\(path)/", isImmutable: isImmutable || hasObjectLock)
        } catch {
            await client.close()
            throw error
        }
    }

    package func list(_ folder: String) async throws -> [String] {
        let path = try RemotePath(parsing: folder)
        let start = path.isRoot ? prefix : "\(prefix)\(path)/"
        let listing = try await client.list(prefix: start, delimiter: "/")
        let keys = listing.objects.map { $0.key[...] } + listing.prefixes.map { $0.dropLast() }
        // Some tools make an empty object in place of a folder.
        let names = Set(keys.map { String($0.dropFirst(start.count)) }).subtracting([""])
        guard !names.isEmpty || !keys.isEmpty || path.isRoot else {
            throw BackupFailure(.notFound, "The folder \(start) of \(client.settings.display) does not exist")
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    package func size(of path: String) async throws -> UInt64 { try await client.head(try key(path)).byteCount }

    package func read(_ path: String, limit: Int) async throws -> [UInt8] {
        try await client.read(try key(path), limit: limit)
    }

    package func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8] {
        try await client.read(try key(path), at: offset, count: count)
    }

    package func stream(_ path: String) async throws -> any ByteSource { try await client.stream(try key(path)) }

    package func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws {
        try await client.put(try key(path), bytes, isNew: mode == .new)
    }

    package func write(
        _ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode
    ) async throws -> UInt64 {
        try await client.put(try key(path), from: source, maxByteCount: maxByteCount, isNew: mode == .new)
    }

    package func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile {
        throw BackupFailure(.unsupported, "Files of an object store cannot be written in place (\(path))")
    }

    package func move(_ path: String, to target: String, _ mode: WriteMode) async throws {
        let (source, target) = (try key(path), try key(target))
        if mode == .new, try await client.exists(target) {
            throw BackupFailure(.conflict, "The object \(target) of \(client.settings.display) exists already")
        }
        try await client.copy(source, to: target)
        try await client.delete(source)
    }

    package func remove(_ path: String) async throws { try await client.delete(try key(path)) }

    package func removeTree(_ path: String) async throws {
        let key = try key(path)
        let objects = try await client.list(prefix: "\(key)/", delimiter: nil).objects
        try await client.delete([key] + objects.map { $0.key })
    }

    /// There is nothing to make.
    package func makeFolder(_ path: String) async throws { _ = try RemotePath(parsing: path) }

    /// Excludes others of this process only: a bucket has nothing that could hold a lock.
    package func lock(_ path: String, patience: Duration) async throws -> any RemoteLock {
        try await ProcessLock.take("\(client.settings.display)/\(try key(path))", patience: patience)
    }

    /// A bucket has no room that it could tell.
    package func info() async throws -> JSONObject { [:] }

    package func close() async { await client.close() }

    private func key(_ path: String) throws -> String {
        let path = try RemotePath(parsing: path)
        guard !path.isRoot else { throw BackupFailure(.invalidInput, "The root of a remote is no file") }
        return "\(prefix)\(path)"
    }
}
