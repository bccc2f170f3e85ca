import BackupFormats
import BackupProtocol

/// A datastore of a remote as a source. (Spec: protocol C.4.)
struct RemoteSource: SyncSource {
    let remote: String
    let store: String
    let connection: any RemoteConnection
    let patience: Duration

    var label: String { "remote '\(remote)', datastore '\(store)'" }

    private var catalog: RemoteCatalog { RemoteCatalog(connection: connection, store: store, patience: patience) }

    func namespaces(below start: Namespace, maxDepth: Int) async throws -> [Namespace] {
        try await catalog.namespaces(below: start, maxDepth: maxDepth)
    }

    func groups(in namespace: Namespace) async throws -> [BackupGroup] {
        try await catalog.groups(in: namespace).map(\.group)
    }

    func snapshots(of group: BackupGroup, in namespace: Namespace) async throws -> [SourceSnapshot] {
        try await catalog.snapshots(of: group, in: namespace)
    }

    func open(_ snapshot: SnapshotName, in namespace: Namespace) async throws -> any SnapshotSource {
        let request = OpenRequest(datastore: store, namespace: namespace, snapshot: snapshot, debug: true)
        let transport = try await within(patience) { [connection] in try await connection.open(.reader, request) }
        return RemoteSnapshot(link: SessionLink(transport: transport, patience: patience), snapshot: snapshot)
    }

    func close() async { await connection.close() }
}

/// A reader session on a snapshot of a remote.
struct RemoteSnapshot: SnapshotSource {
    let link: SessionLink
    let snapshot: SnapshotName

    func blob(_ name: ArchiveName) async throws -> [UInt8]? {
        try await link.fetch(
            BackupRequest(.download(name: name.name)), limit: BlobLimits.encodedBlob.upperBound,
            trying: "\(name) of \(snapshot) cannot be fetched")
    }

    func index(_ name: ArchiveName, limit: Int) async throws -> any ByteSource {
        let what = "\(name) of \(snapshot) cannot be fetched"
        let response = try await link.send(BackupRequest(.download(name: name.name)), trying: what)
        try await SessionLink.require(response, what)
        switch response.body {
        case .bytes(let bytes): return BytesSource(bytes)
        case .stream(let source, let length):
            if let length, length > limit {
                throw BackupFailure(.corruptData, "\(what): it would be of \(length) bytes, and \(limit) are possible")
            }
            return TimedBody(source: source, link: link, what: what)
        }
    }

    func chunk(_ digest: ChunkDigest, limit: Int) async throws -> [UInt8] {
        let what = "Chunk \(digest) of \(snapshot) cannot be fetched"
        guard let bytes = try await link.fetch(BackupRequest(.chunk(digest)), limit: limit, trying: what) else {
            throw BackupFailure(.corruptData, "\(what): the remote has none")
        }
        return bytes
    }

    func close() async { await link.transport.close() }
}

/// A body that fails where its next bytes are too long in coming. It keeps the connection.
private struct TimedBody: ByteSource {
    let source: any ByteSource
    let link: SessionLink
    let what: String

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        do {
            return try await within(link.patience) { [source] in try await source.read(upTo: maxBytes) }
        } catch let failure as BackupFailure {
            throw BackupFailure(failure.kind, what, cause: failure)
        }
    }
}
